"""4: three unlike agents on a bus, with a registry of what they can and a log in a chain of hashes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from inn.system.errors import InputError
from inn.system.packages import require
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.examples import FOLDER, example
from inn_studies.lab import Lab
from inn_studies.logs.samples import held_out, lines_of, sample

LINES, FOREIGN = 200, 8
"""Of a log, and how many of another system are hidden among them."""
ALL, ALONE = "the three together", ("rules alone", "forest alone", "neurons alone")
AUROC = "AUROC"
CHAIN, SINGLE = "hashes in a chain", "a hash for each entry"
CHANGED, SEALED, GONE, SWAPPED = "changed", "changed and sealed again", "left out", "swapped"
WANTED = {
    "rules": ("find words of failure", "look for words that tell of a failure", "find failure by rules"),
    "forest": ("which lines are outliers", "detect outlying lines with trees", "outliers of a forest"),
    "neurons": ("how surprising is each line, in bits", "rate lines by surprise", "bits of surprise in a log"),
}
"""Wishes for each agent that are not what it says of itself."""
UNKNOWN = ("translate into French", "bake a cake", "paint the house", "play a game of chess", "forecast the weather")
LEAST, CHANCE = 0.85, 0.7


def agents() -> Any:
    """The example; raises `InputError` without pydantic or scikit-learn."""
    require("pydantic", "entry 4", "fields")
    require("sklearn", "entry 4", "sklearn")
    return example("agents", 4)


def model() -> str:
    """The model of logs, which a checkout has."""
    return str(FOLDER.parent / "models" / "src" / "inn_models" / "logs")


def hidden(system: str, seed: int) -> tuple[str, list[bool]]:
    """A log that the model never read, and which of its lines are of another such system."""
    draw = random.Random(f"{system} {seed}")
    lines = [line.decode(errors="replace") for line in lines_of(sample(system))[:LINES]]
    other = draw.choice([name for name in held_out(0) if name != system])
    strange = [line.decode(errors="replace") for line in lines_of(sample(other))]
    foreign = [False] * len(lines)
    for at in draw.sample(range(LINES // 4, LINES), FOREIGN):
        lines[at], foreign[at] = draw.choice(strange), True
    return "\n".join(line.replace("\n", " ").replace("\r", " ") for line in lines), foreign


def found_lines(system: str, seed: int) -> dict[str, float]:
    """AUROC of the foreign lines by the report, and by each agent alone (for `Lab.compute`)."""
    from sklearn.metrics import roc_auc_score

    code, (text, foreign) = agents(), hidden(system, seed)

    async def job() -> dict[str, float]:
        bus = code.Bus()
        code.company(bus, model())
        marks = {ALL: await code.report(bus, text)}
        for label, wish in zip(ALONE, code.WISHES, strict=True):
            marks[label] = await code.report(bus, text, [wish])
        return {label: float(roc_auc_score(foreign, found)) for label, found in marks.items()}

    return asyncio.run(job())


def crashes(system: str) -> dict[str, Any]:
    """What becomes of a job whose agents crash, each in turn, with another of its kind there and without."""
    code, (text, _) = agents(), hidden(system, 0)
    text = "\n".join(text.split("\n")[:40])

    async def job(crashing: str, spare: bool) -> list[float] | str:
        bus = code.Bus()
        code.company(bus, model())
        if not crashing:
            return await code.report(bus, text)
        agent = next(a for a in bus.agents if a.name == crashing)

        def crash(message: Any) -> Any:
            raise RuntimeError("out of order")

        bus.agents.remove(agent)
        bus.join(agent._replace(name=f"{crashing}, broken", work=crash))
        if spare:
            bus.join(agent._replace(name=f"{crashing}, another"))
        try:
            return await code.report(bus, text)
        except InputError as error:
            return str(error)

    whole = asyncio.run(job("", True))
    with_spare = [asyncio.run(job(name, True)) == whole for name in WANTED]
    without = [asyncio.run(job(name, False)) for name in WANTED]
    return {"same": sum(with_spare), "refused": sum(isinstance(w, str) and "out of order" in w for w in without)}


def looked_up() -> dict[str, Any]:
    """How many wishes find the agent that they mean, and how many that nobody can are refused by name."""
    code = agents()

    async def look() -> dict[str, Any]:
        bus, right, exact, refused = code.Bus(), 0, 0, 0
        code.company(bus, model())
        for name, wishes in WANTED.items():
            for wish in wishes:
                exact += any(agent.can == wish for agent in bus.agents)
                with suppress(InputError):
                    right += bus.find(wish).name == name
        for wish in UNKNOWN:
            try:
                bus.find(wish)
            except InputError as error:
                refused += f"'{wish}'" in str(error)
        return {"right": right, "exact": exact, "refused": refused}

    return asyncio.run(look())


def tampered(entries: int, seed: int) -> dict[str, Any]:
    """How often each way to tamper with a log is found, in a chain of hashes and with hashes of single entries."""
    code, draw = agents(), random.Random(seed)
    log = code.Log()
    for _ in range(entries):
        log.add(*(f"{draw.random()}" for _ in range(4)))
    head, kept = log.head, list(log.entries)
    single = [(*said, log.seal("", said)) for *said, _ in kept]

    def change(at: int) -> list[str]:
        said = list(kept[at][:-1])
        said[draw.randrange(len(said))] += "!"
        return said

    def ways(of: list[tuple[str, ...]], seal: Callable[[int, Sequence[str]], str]) -> dict[str, list[list[Any]]]:
        found: dict[str, list[list[Any]]] = {way: [] for way in (CHANGED, SEALED, GONE, SWAPPED)}
        for at in range(entries):
            said = change(at)
            found[CHANGED].append([*of[:at], (*said, of[at][-1]), *of[at + 1 :]])
            found[SEALED].append([*of[:at], (*said, seal(at, said)), *of[at + 1 :]])
            found[GONE].append([*of[:at], *of[at + 1 :]])
            if at + 1 < entries:
                found[SWAPPED].append([*of[:at], of[at + 1], of[at], *of[at + 2 :]])
        return found

    def chained(tampered: list[Any]) -> int | None:
        log.entries = tampered
        return log.changed(head)

    before = ["", *(entry[-1] for entry in kept)]
    chain = {way: [chained(t) for t in all_of] for way, all_of in
             ways(kept, lambda at, said: log.seal(before[at], said)).items()}  # fmt: skip
    alone = {
        way: [any(own != log.seal("", said) for *said, own in t) for t in all_of]
        for way, all_of in ways(single, lambda at, said: log.seal("", said)).items()
    }
    return {
        CHAIN: {way: sum(at is not None for at in found) / len(found) for way, found in chain.items()},
        SINGLE: {way: sum(found) / len(found) for way, found in alone.items()},
        "at": sum(at == i for i, at in enumerate(chain[CHANGED])) / entries,
        "untouched": chained(kept) is None,
    }


class Messages(Entry):
    """A job of three agents, beside each of them alone; a log in a chain, beside one without."""

    number = 4
    title = "Unlike agents on a bus"
    source = (
        "*MOD-X: A Modular Open Decentralized eXchange Framework proposal*, "
        "[arXiv 2507.04376](https://arxiv.org/abs/2507.04376)"
    )
    claim = (
        "rule-based systems, neural networks and older software work together over a bus that finds them by what they "
        "can, translates between them, and keeps a record that nobody can change unseen; a proposal, with no number."
    )
    home = "`examples/agents.py`: `LineScorer` and the trained model `logs` are one of the agents"
    control = (
        "each agent alone; a hash for each entry without a chain; look-up by exact words; no other agent to turn to"
    )
    score = f"AUROC of {FOREIGN} lines of another system among {LINES}, logs that the model never read; shares found"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        agents()
        if not Path(model()).is_dir():
            raise InputError(f"entry 4 needs the trained model '{model()}', which is not here; run it in a checkout")
        systems = held_out(0)[: size.of(1, 4)]
        cases = {f"{s} {k}": {"system": s, "seed": k} for s in systems for k in range(seeds)}
        found = lab.compute(found_lines, cases)
        rows = [
            row(label, {s: [found[f"{s} {k}"][label] for k in range(seeds)] for s in systems}, control=label != ALL)
            for label in (ALL, *ALONE)
        ]
        logs = list(lab.compute(tampered, {f"{k}": {"entries": 50, "seed": k} for k in range(seeds)}).values())
        rows += [
            row(label, {way: [log[label][way] for log in logs] for way in logs[0][label]}, control=label == SINGLE)
            for label in (CHAIN, SINGLE)
        ]
        return {
            "rows": rows,
            "systems": list(systems),
            "at": [log["at"] if log["untouched"] else 0.0 for log in logs],
            "looked up": lab.compute(looked_up, {"look-up": {}})["look-up"],
            "crashes": lab.compute(crashes, {"crashes": {"system": systems[-1]}})["crashes"],
        }

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        looked, crashed, of = result["looked up"], result["crashes"], sum(map(len, WANTED.values()))
        least = min(scores(result, CHAIN, way)[0] for way in (CHANGED, SEALED, GONE, SWAPPED))
        single = mean(result, SINGLE, SEALED)
        together, rules = (average(result, label) for label in (ALL, ALONE[0]))
        return [
            Criterion.of("a changed entry", "found at its index, each; none in an untouched log",
                         f"{min(result['at']):.0%}", min(result["at"]) == 1),
            Criterion.of("sealed again, left out, swapped", "found, each, with the last hash kept elsewhere",
                         f"{least:.0%}", least == 1),
            Criterion.of("no chain", "control: none found of those sealed again", f"{single:.0%}", single == 0),
            Criterion.of("what nobody can", f"{len(UNKNOWN)} of {len(UNKNOWN)} refused by name",
                         f"{looked['refused']}", looked["refused"] == len(UNKNOWN)),
            Criterion.of("in other words", f"{of} of {of} find the agent; by exact words 0",
                         f"{looked['right']}; {looked['exact']}", looked["right"] == of and not looked["exact"]),
            Criterion.of("a crash", "to another, same result, 3 of 3; refused where there is none, 3 of 3",
                         f"{crashed['same']}; {crashed['refused']}", (crashed["same"], crashed["refused"]) == (3, 3)),
            Criterion.of("the job", f"AUROC ≥ {LEAST} together; rules alone ≤ {CHANCE}",
                         f"{together:.3f}; {rules:.3f}", together >= LEAST and rules <= CHANCE),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        alone = ", ".join(f"{label.removesuffix(' alone')} {average(result, label):.3f}" for label in ALONE)
        best = max(average(result, label) for label in ALONE)
        more = "more" if average(result, ALL) > best else "no more"
        return (
            f"AUROC of the foreign lines, each agent alone: {alone}; together they find {more} than the best of them. "
            "Likeness is that of letters: a wish without an agent's own words finds nobody. Who rewrites the whole log "
            "is found out by its last hash alone."
        )


def average(result: dict[str, Any], label: str) -> float:
    """The mean over systems of a row's AUROC."""
    return sum(mean(result, label, system) for system in result["systems"]) / len(result["systems"])
