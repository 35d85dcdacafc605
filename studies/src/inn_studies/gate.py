"""The summary's claims about a gate: that training diverges without one, and that a closed one saves compute."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inn.models.inn import INN
from inn.runs.directory import Run
from inn_studies import compressors
from inn_studies.lab import Job, Lab
from inn_studies.rows import facts, jobs, markdown, model_settings, spread
from inn_studies.sizes import TEXT8, Size
from inn_studies.stability import best, point
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

GATES = ("none", "soft", "hard")
PENALTIES = (0.0, 0.01, 0.1, 1.0)
"""What talking costs, in nats of the mean gate."""
SILENT = "no messages"
"""The label of the graph without communication."""
EQUAL = 0.01
"""Bits within which two results count as equal."""
WORTH = 0.05
"""Share of the forward FLOPs from which a saving is one."""
OPEN = (
    "*Gates open* is the mean over neurons, rounds and symbols of held-out text; a gate *chooses* when it is open at "
    "5% to 95% of the symbols, and is *never open* below 1%. A closed gate would let the value map of its neuron and "
    "its share of the sum of messages be skipped; the memory runs and the neuron listens in any case, so the whole "
    "router, in the first row, is the most that silence could ever save."
)

SIZES = {
    "smoke": replace(TEXT8["smoke"], rates=(1e-2, 1e-1)),
    "cpu": replace(
        TEXT8["cpu"].but(train_symbols=1_000_000, train_log_every=4), rates=(3e-3, 1e-2, 3e-2, 1e-1), seeds=2,
        scored=200_000,
    ),
    "gpu": replace(TEXT8["gpu"].but(train_symbols=20_000_000), rates=(4e-4, 1e-3, 3e-3, 1e-2, 3e-2), scored=1_000_000),
}  # fmt: skip
"""Learning rates from the usual one (first) to far above it."""


class Gates(Study):
    name = "gate"
    source = "the published summary"
    question = "Does training diverge without a gate, and does a hard gate save compute at equal BPC?"

    def sizes(self) -> dict[str, Size]:
        return SIZES

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        base = model_settings(size, "inn-distinct")

        def group_of(label: str, rate: float, **fields: Any) -> list[Job]:
            given = {**base, **{f"model.{name}": value for name, value in fields.items()}}
            if fields.get("router") == "none":  # which has no heads
                given.pop("model.heads", None)
            return jobs(size, f"gate {label}", given, [rate], range(seeds))

        def runs(label: str, rate: float, **fields: Any) -> list[Run]:
            return lab.train(group_of(label, rate, **fields))

        sweep = [(gate, rate) for gate in GATES for rate in size.rates]
        lab.train([job for gate, rate in sweep for job in group_of(gate, rate, gate=gate)])  # all side by side
        rows = []
        for gate in GATES:
            groups = {rate: runs(gate, rate, gate=gate) for rate in size.rates}
            points = [{"lr": rate, **point(group)} for rate, group in groups.items()]
            rows.append({"gate": gate, "points": points, **facts(groups[size.rates[0]][0])})
        floors = (runs("none", size.rates[0], gate="none")[0].summary() or {})["floors"]

        lr = best(rows[0])[1]
        trials = {
            SILENT: {"router": "none"},
            "no gate": {"gate": "none"},
            **{f"hard, {nats:g} nats": {"gate": "hard", "gate_penalty": nats} for nats in PENALTIES},
        }
        lab.train([job for label, fields in trials.items() for job in group_of(label, lr, **fields)])
        kept = []
        for label, fields in trials.items():
            group = runs(label, lr, **fields)
            opened = lab.measure(openness, group, limit=size.scored) if fields.get("gate") == "hard" else []
            kept.append(
                {
                    "label": label,
                    "bits": point(group)["bits"],
                    "open": [found for found in opened if found is not None],
                    "flops": (group[0].summary() or {})["flops"],
                }
            )
        return {"rows": rows, "penalties": kept, "usual_lr": size.rates[0], "lr": lr, "floors": floors}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.validated(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        row = result["rows"][0]
        sweep = markdown(
            ["final validation BPC at learning rate", *(f"{at['lr']:g}:" for at in row["points"])],
            [[f"gate {r['gate']}", *(_cell(at, result["floors"]) for at in r["points"])] for r in result["rows"]],
        )
        routing = _routing(next(x for x in result["penalties"] if x["label"] == "no gate")["flops"])
        saved = markdown(
            ["model", "valid BPC:", "gates open:", "neurons that choose:", "never open:", "FLOPs skippable:"],
            [[x["label"], spread(x["bits"]), *_opened(x, routing)] for x in result["penalties"]],
        )
        return (
            f"{row['parameters']:,} parameters, {row['symbols']:,} symbols of {row['data']['name']} per run; *failed*: "
            f"not below the bigram table ({result['floors']['bigram']:.3f}) at the end.\n\n{sweep}\n\nWhat talking may "
            f"cost, at the best learning rate without a gate, {result['lr']:g}. {OPEN}\n\n{saved}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        left, right = figure.subplots(1, 2)
        for row in result["rows"]:
            points = [(at["lr"], statistics.mean(at["bits"])) for at in row["points"] if at["bits"]]
            left.plot([x for x, _ in points], [y for _, y in points], marker="o", label=f"gate {row['gate']}")
        left.axhline(result["floors"]["bigram"], linestyle=":", color="grey", label="bigram floor")
        left.set(xscale="log", xlabel="peak learning rate", ylabel="final validation BPC")
        left.legend(fontsize="small")
        for x in result["penalties"]:
            if x["bits"] and x["open"]:
                right.plot(_mean_open(x), statistics.mean(x["bits"]), "o", label=x["label"])
            elif x["bits"]:
                right.axhline(
                    statistics.mean(x["bits"]), linestyle="--" if x["label"] == SILENT else ":", label=x["label"]
                )
        right.set(xlabel="share of gates that are open", ylabel="final validation BPC", xlim=(-0.05, 1.05))
        right.legend(fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return [divergence_verdict(result), saving_verdict(result)]


def openness(run: str, limit: int | None) -> dict[str, Any]:
    """How often the gates of a run are open on held-out text (a measure for `Lab.measure`).

    Returns `open` by round and neuron, and `skippable`, the share of a forward pass's FLOPs that closed gates would
    let a kernel skip.
    """
    from inn.analysis.recording.record import record
    from inn.inference.evaluate import evaluate
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    assert isinstance(model, INN)
    with record(model, "gate") as tape:
        evaluate(model, dataset.valid[:limit], streams=16)
    share = tape.mean("gate")  # [R, N]
    skipped = float((1 - share).sum()) * emission_flops(model)
    return {"open": share.tolist(), "skippable": skipped / sum(model.flops().values()), "symbols": tape.symbols}


def emission_flops(model: INN) -> float:
    """FLOPs that one neuron's message costs in one round, at one symbol: its value map, and its term in N sums.

    2 D² + 2 N D for the attention router; queries, keys and the weights are needed in any case.
    """
    c = model.config
    return 2.0 * c.width**2 + 2.0 * c.neurons * c.width


def failed(at: dict[str, Any], floors: dict[str, float]) -> bool:
    """Whether a model, at a learning rate, diverged on any seed or ended no better than a bigram table."""
    return bool(at["diverged"]) or statistics.mean(at["bits"]) >= floors["bigram"]


def divergence_verdict(result: dict[str, Any]) -> Verdict:
    """What became of the claim that training diverges without the gate."""
    good = {
        row["gate"]: [at["lr"] for at in row["points"] if not failed(at, result["floors"])] for row in result["rows"]
    }
    total = len(result["rows"][0]["points"])
    shown = ", ".join(f"gate {gate}: {len(rates)} of {total} rates train" for gate, rates in good.items())
    without, gated = set(good["none"]), set(good["soft"]) | set(good["hard"])
    if not without | gated:
        outcome, because = "not measured", "these runs are too short for any model to pass the bigrams"
    elif result["usual_lr"] not in without:
        outcome, because = "reproduced", "without a gate training fails at the usual learning rate"
    elif gated - without:
        rates = ", ".join(f"{rate:g}" for rate in sorted(gated - without))
        outcome, because = "not reproduced", f"without a gate it trains as usual; a gate helps at lr {rates} only"
    else:
        outcome, because = "not reproduced", "it trains without a gate wherever it trains with one"
    return Verdict("without the gate training diverges", "divergence (summary)", shown, outcome, because)


def saving_verdict(result: dict[str, Any]) -> Verdict:
    """What became of compute that is saved by silence."""
    by_label = {x["label"]: x for x in result["penalties"]}
    claim, paper = "the gate saves compute", "fewer resources for easy inputs (summary)"
    if not by_label["no gate"]["bits"]:
        return Verdict(claim, paper, "–", "not measured", "every run without a gate diverged")
    base = statistics.mean(by_label["no gate"]["bits"])
    equal = [x for x in result["penalties"] if x["open"] and x["bits"] and statistics.mean(x["bits"]) <= base + EQUAL]
    if not equal:
        return Verdict(claim, paper, "–", "not reproduced", f"no hard gate comes within {EQUAL} BPC of no gate")
    most = max(equal, key=_skippable)
    shown = f"{_skippable(most):.1%} of the FLOPs at {statistics.mean(most['bits']) - base:+.3f} BPC ({most['label']})"
    silent = by_label[SILENT]["bits"]
    worth = f"; no messages at all cost {statistics.mean(silent) - base:+.3f} BPC" if silent else ""
    if _skippable(most) >= WORTH:
        return Verdict(claim, paper, shown, "reproduced", f"closed gates leave the result equal{worth}")
    because = f"messages are a small part of the work, or the gates that may close do not{worth}"
    return Verdict(claim, paper, shown, "not reproduced", because)


def _skippable(x: dict[str, Any]) -> float:
    return statistics.mean(o["skippable"] for o in x["open"])


def _mean_open(x: dict[str, Any]) -> float:
    return statistics.mean(value for o in x["open"] for row in o["open"] for value in row)


def _opened(x: dict[str, Any], routing: float) -> list[str]:
    if x["label"] == SILENT:
        return ["–", "–", "–", f"{routing:.1%}"]
    if not x["open"]:
        return ["–"] * 4
    every = [value for o in x["open"] for row in o["open"] for value in row]
    chooses = sum(0.05 <= value <= 0.95 for value in every) / len(every)
    never = sum(value < 0.01 for value in every) / len(every)
    return [f"{_mean_open(x):.1%}", f"{chooses:.0%}", f"{never:.0%}", f"{_skippable(x):.1%}"]


def _routing(flops: dict[str, float]) -> float:
    """The router's share of a forward pass."""
    return sum(n for name, n in flops.items() if name.startswith("routing")) / sum(flops.values())


def _cell(at: dict[str, Any], floors: dict[str, float]) -> str:
    if at["diverged"]:
        return f"{at['diverged']} diverged" + (f", {spread(at['bits'])}" if at["bits"] else "")
    return spread(at["bits"]) + (" *failed*" if failed(at, floors) else "")
