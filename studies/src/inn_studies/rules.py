"""Rules: what neurons do, in words; planted ones found again, those of trained graphs, and automata of what counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from inn.analysis.rules.automaton import Automaton
from inn.analysis.rules.counting import answers_of, automaton_of, carriers
from inn.analysis.rules.runs import explain_run
from inn.data.tasks.permutations import symmetric
from inn.runs.load import load_with_data
from inn.system.errors import InputError
from inn_studies.lab import Job, Lab
from inn_studies.planted import planted_again
from inn_studies.rows import facts, markdown, spread
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

COUNTING: dict[str, dict[str, Any]] = {
    "parity, gru": {"data.corpus": "task:parity", "train.symbols": 640_000, "model.memory": "gru"},
    "S3, gru": {
        "data.corpus": "task:permutations",
        "data.task.group": "S3",
        "train.symbols": 2_560_000,
        "model.memory": "gru",
    },
    "S3, delta": {
        "data.corpus": "task:permutations",
        "data.task.group": "S3",
        "train.symbols": 2_560_000,
        "model.memory": "delta",
        "model.memory.products": 2,
        "model.memory.conv": 1,
        "model.memory.forget": False,
    },
}
"""The graphs that learn to count, as in `inn study where --rows state`: trained to length 40, asked at 256."""
SEEDS = {"S3, delta": 1}
"""Seeds of the rows that take longest, where the others have three."""
_COMMON = {
    "data.task.length": 40,
    "data.batch": 64,
    "train.lr": 0.005,
    "train.log_every": 100,
    "train.eval_every": 250,
    "train.eval_symbols": 20_000,
    "train.checkpoint_every": 1_000_000,
    "train.sample_every": 0,
    "model.kind": "inn",
    "model.neurons": 4,
    "model.width": 16,
    "model.rounds": 2,
    "model.recall.slots": 1024,
}
LENGTH, STRINGS = 256, 1000
GOALS = {"fidelity": 0.8, "shuffled": 0.55, "seconds": 60}
SHOWN = 3
"""Rules of a run that the table has, the truest ones."""
SIZES = {
    "smoke": Size("demo", {"data.corpus": "pydoc", "train.symbols": 4096}, scored=1024),
    "cpu": Size("demo", seeds=3, scored=16_384),
    "gpu": Size("demo", seeds=3, scored=65_536),
}


def text_job(name: str, seed: int, size: Size) -> Job:
    """A recipe on its text."""
    return Job(f"rules {name} {seed}", name, {**size.settings, "train.seed": seed})


def counting_job(name: str, seed: int, size: Size) -> Job:
    """A small graph on a task that has to be counted."""
    fewer = {"train.symbols": size.settings["train.symbols"]} if "train.symbols" in size.settings else {}
    return Job(f"rules {name} {seed}", "study-smoke", {**_COMMON, **COUNTING[name], **fewer, "train.seed": seed})


def explained(run: str, symbols: int) -> dict[str, Any]:
    """The rules of a run in numbers, some of them in words, and what is lost with rules in place of neurons."""
    before, began = time.process_time(), time.monotonic()
    found = explain_run(run, symbols=symbols, device="cpu")
    instead = found["instead"]
    neurons = sorted((r for r in found["rules"] if r["kind"] == "neuron"), key=lambda r: -(r["fidelity"] or 0))
    return {
        "summary": found["summary"],
        "fidelities": [r["fidelity"] for r in neurons],
        "alone": {name: statistics.mean(one[name] for one in instead["neurons"]) for name in ("rules", "mean")},
        "instead": {name: instead[name] for name in ("whole", "rules", "mean", "targets")},
        "examples": neurons[:SHOWN],
        "questions": found["questions"],
        "steps": found["held_out"],
        "cpu_seconds": round(time.process_time() - before, 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def counted(run: str) -> dict[str, Any]:
    """The automaton of a run on a task, beside the one that the task is."""
    model, data = load_with_data(run)
    names = tuple(data.vocabulary.symbol(i) for i in range(data.vocabulary.size))
    product = symmetric(3)[1] if len(names) == 6 else np.array([[0, 1], [1, 0]])
    true = Automaton(product, product, names, names)
    strings = np.random.default_rng(7).integers(0, len(names), (STRINGS, LENGTH))
    told = answers_of(model)(strings)  # type: ignore[arg-type]
    facts = {"true_states": true.minimal().states, "run": float((told == true.read(strings)).mean())}
    try:
        found = automaton_of(model, data.vocabulary)  # type: ignore[arg-type]
    except InputError as error:
        return {**facts, "states": None, "why": str(error)}
    return {
        **facts,
        "states": found.states,
        "same": found.same_as(true),
        "right": float((found.read(strings) == true.read(strings)).mean()),
        "agreement": float((told == found.read(strings)).mean()),
        "carriers": carriers(model, found),  # type: ignore[arg-type]
        "mermaid": found.mermaid(),
    }


class Rules(Study):
    name = "rules"
    source = "our own question"
    question = "Can what a neuron does be said in a few words, and what a population counts be drawn as an automaton?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        smoke = bool(size.settings)
        cases = {f"planted {s}": {"seed": s, "symbols": size.scored or 16_384} for s in range(seeds)}
        found = lab.compute(planted_again, cases)
        texts, tasks = [], []
        for name in ("demo",) if smoke else ("demo", "text8-small"):
            runs = lab.train([text_job(name, s, size) for s in range(min(seeds, SEEDS.get(name, seeds)))])
            texts.append({"name": name, "runs": lab.measure(explained, runs, symbols=size.scored), **facts(runs[0])})
        for name in list(COUNTING)[: 1 if smoke else None]:
            runs = lab.train([counting_job(name, s, size) for s in range(min(seeds, SEEDS.get(name, seeds)))])
            tasks.append({"name": name, "runs": lab.measure(counted, runs), **facts(runs[0])})
        return {"planted": [found[label]["rows"] for label in cases], "texts": texts, "tasks": tasks, "length": LENGTH,
                "strings": STRINGS}  # fmt: skip

    def table(self, result: dict[str, Any]) -> str:
        return "\n\n".join([_planted(result), _texts(result), _examples(result), _tasks(result), criteria(result)])

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        for i, row in enumerate(result["texts"]):
            values = [v for run in row["runs"] for v in run["fidelities"] if v is not None]
            axes.plot(sorted(values), np.linspace(0, 1, len(values)), "o-", label=row["name"], color=f"C{i}")
            axes.axvline(_median(row, "neuron", "shuffled"), color=f"C{i}", linestyle=":")
        axes.set_xlabel("fidelity of a neuron's rule (AUROC, held-out text); dotted: shuffled")
        axes.set_ylabel("share of neurons at most so true")
        axes.legend(fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def _median(row: Mapping[str, Any], kind: str, what: str) -> float:
    """The mean over seeds of a median over parts."""
    return statistics.mean(run["summary"][kind][what] for run in row["runs"])


def _planted(result: Mapping[str, Any]) -> str:
    rows = [
        [
            f"`{of[0]['planted']}`",
            f"{sum(one['said'] == one['planted'] and one['fidelity'] == 1.0 for one in of)} of {len(of)}",
            spread([one["shuffled"] for one in of], 2),
            f"{of[0]['states']}",
            f"{sum(one['exact'] for one in of)} of {len(of)}",
        ]
        for of in zip(*result["planted"], strict=True)
    ]
    head = ["planted rule", "found, word for word, fidelity 1:", "shuffled:", "states:", "automaton found:"]
    return f"Three neurons that do what was planted in them, on random symbols:\n\n{markdown(head, rows)}"


def _texts(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result["texts"]:
        for kind in row["runs"][0]["summary"]:
            of = [run["summary"][kind] for run in row["runs"]]
            rows.append(
                [row["name"], f"{of[0]['parts']} {kind}s by round", str(len(of)),
                 *(spread([one[k] for one in of], 2) for k in ("fidelity", "shuffled", "coverage")),
                 f"{max(one['size'] for one in of):g}"]
            )  # fmt: skip
    head = ["run", "parts", "seeds:", "fidelity:", "shuffled:", "coverage:", "leaves:"]
    first = "Medians over the parts of trained graphs, on text that rules were not fitted on:"
    lost = []
    for row in result["texts"]:
        runs = row["runs"]
        whole, means, rules = ([run["instead"][k] for run in runs] for k in ("whole", "mean", "rules"))
        alone = [spread([run["alone"][k] for run in runs]) for k in ("mean", "rules")]
        lost.append([row["name"], spread(whole), *alone, spread(means, 2), spread(rules, 2)])
    columns = ["run", "whole:", "one by its mean, added:", "one by its rule, added:", "all by their means:"]
    columns += ["all by their rules:"]
    second = (
        "Bits per symbol with rules of 8 leaves in place of neurons: each says what it says on average in the leaf "
        "that a step falls into, to the others and the readout. Votes of what is recalled stay:"
    )
    return f"{first}\n\n{markdown(head, rows)}\n\n{second}\n\n{markdown(columns, lost)}"


def _examples(result: Mapping[str, Any]) -> str:
    """The truest rules of the first seed of each text."""
    parts = ["The truest rules of the first seeds; percentages are shares of steps in the neuron's top fifth:"]
    for row in result["texts"]:
        for rule in row["runs"][0]["examples"]:
            lines = [
                f"{'  ' * depth}{words}{'' if share is None else f': {max(0.0, share):.0%}'}"
                for depth, words, share in rule["lines"]
            ]
            title = (
                f"{row['name']}, neuron {rule['neuron']}, round {rule['round'] + 1}: fidelity {rule['fidelity']:.2f}"
            )
            parts.append("```text\n" + "\n".join([title, *lines]) + "\n```")
    return "\n\n".join(parts)


def _tasks(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result["tasks"]:
        runs = row["runs"]
        states = ", ".join("none" if run["states"] is None else str(run["states"]) for run in runs)
        known = [run for run in runs if run["states"] is not None]
        rows.append(
            [row["name"], str(len(runs)), states, str(runs[0]["true_states"]),
             f"{sum(run['same'] for run in known)} of {len(runs)}",
             spread([100 * run["right"] for run in known], 2), spread([100 * run["run"] for run in runs], 2),
             spread([100 * run["agreement"] for run in known], 2),
             spread([100 * max(run["carriers"]) for run in known], 0)]
        )  # fmt: skip
    head = ["run", "seeds:", "states found:", "of the task:", "the same automaton:", "automaton right, %:",
            "run right, %:", "automaton as the run, %:", "best neuron tells its state, %:"]  # fmt: skip
    strings = f"{result['strings']:,} random strings of length {result['length']}"
    text = f"Automata of graphs that count, trained to length 40, over {strings}, symbol by symbol:"
    drawn = next((run["mermaid"] for row in result["tasks"] for run in row["runs"] if run["states"] == 2), None)
    shown = f"\n\nThe one of parity:\n\n```text\n{drawn}```" if drawn else ""
    return f"{text}\n\n{markdown(head, rows)}{shown}"


def criteria(result: Mapping[str, Any]) -> str:
    """What was to be reached, and whether it was."""
    planted = all(one["exact"] and one["said"] == one["planted"] for of in result["planted"] for one in of)
    fidelity = min(_median(row, "neuron", "fidelity") for row in result["texts"])
    shuffled = max(_median(row, "neuron", "shuffled") for row in result["texts"])
    runs = [run for row in result["tasks"] for run in row["runs"]]
    same = sum(run["states"] is not None and run["same"] for run in runs)
    seconds = max(run["cpu_seconds"] for row in result["texts"] if row["name"] == "demo" for run in row["runs"])
    said = {
        "planted rules and automata found exactly": planted,
        f"median fidelity {fidelity:.2f}, goal {GOALS['fidelity']}": fidelity >= GOALS["fidelity"],
        f"shuffled {shuffled:.2f}, at most {GOALS['shuffled']}": shuffled <= GOALS["shuffled"],
        f"the task's automaton from {same} of {len(runs)} runs": same == len(runs),
        f"`inn explain` on the demo takes {seconds:.0f} s of one core, goal {GOALS['seconds']} s": seconds
        <= GOALS["seconds"],
    }
    return "\n".join(f"- {what}: {'reached' if ok else 'not reached'}" for what, ok in said.items())
