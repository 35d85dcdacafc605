"""Adaptive compute on text: what neurons that rest save, at what cost in bits, beside graphs with fewer rounds."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.rows import facts, jobs, markdown, spread
from inn_studies.sizes import TEXT8, Fields, Size
from inn_studies.stability import point
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

ALWAYS = "all take part, always"
SHALLOW: dict[str, Fields] = {"three rounds": {"rounds": 3}, "two rounds": {"rounds": 2}}
"""What costs less without a gate."""
PRICES = (0.0, 0.02)
"""Nats for a neuron that takes part in all steps."""
EQUAL, FLOPS, TIME = 0.01, 0.60, 0.75
"""Bits within which a gated graph is as good, and the shares of FLOPs and of time that it may then take."""
FIELDS: dict[str, Fields] = {
    ALWAYS: {},
    **SHALLOW,
    **{f"gates, {p:g} nats": {"gate": {"kind": "active", "bias": 0.0}, "gate_penalty": p} for p in PRICES},
}

SIZES = {
    "smoke": replace(TEXT8["smoke"], rates=(1e-2,)),
    "cpu": replace(TEXT8["cpu"].but(train_symbols=500_000), rates=(1.2e-2,), seeds=1, scored=100_000),
    "gpu": replace(TEXT8["gpu"].but(train_symbols=20_000_000), rates=(8e-4,), scored=1_000_000),
}


class Resting(Study):
    name = "resting"
    source = "the abstract"
    question = "Does a graph whose neurons choose when to take part read text as well, at less compute and time?"

    def sizes(self) -> dict[str, Size]:
        return SIZES

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        groups = {}
        for label, fields in FIELDS.items():
            settings = {f"model.{name}": v for name, v in _flat(fields).items()}
            groups[label] = jobs(size, f"resting {label}", {"model.kind": "inn", **settings}, size.rates, range(seeds))
        lab.train([job for group in groups.values() for job in group])
        rows = []
        for label, group in groups.items():
            runs = lab.train(group)
            found = [f for f in lab.measure(cost, runs, limit=size.scored) if f is not None]
            rows.append({"label": label, "bits": point(runs)["bits"], "cost": found, **facts(runs[0])})
        return {"rows": rows}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.validated(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        always = result["rows"][0]
        shown = markdown(
            ["graph", "valid BPC:", "neurons at work:", "FLOPs of reading:", "time, reading:", "time, training:"],
            [
                [r["label"], spread(r["bits"]), *(_percent(share(r, always, what)) for what in WHAT)]
                for r in result["rows"]
            ],
        )
        return (
            f"{always['parameters']:,} parameters, {always['symbols']:,} symbols of {always['data']['name']} per run; "
            "shares are of the graph in which all take part. *Neurons at work* is the mean over rounds, neurons and "
            "symbols of held-out text; FLOPs are counted at these shares, gates included. Times are CPU seconds of one "
            "thread, 16 streams of 256 symbols: of weights with their gates beside the same weights without, in turns, "
            f"and of a graph without gates beside the first.\n\n{shown}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        always = result["rows"][0]
        for r in result["rows"]:
            axes.plot(share(r, always, "flops"), statistics.mean(r["bits"]), "o", label=r["label"])
        axes.axhline(statistics.mean(always["bits"]) + EQUAL, linestyle=":", color="grey")
        axes.axvline(FLOPS, linestyle=":", color="grey")
        axes.set(xlabel="share of the FLOPs", ylabel="final validation BPC")
        axes.legend(fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        claim, paper = "neurons that rest save compute at equal quality", "knowing when to activate (abstract)"
        always = result["rows"][0]
        gated = [r for r in result["rows"] if r["label"].startswith("gates")]
        cheap = [r for r in gated if share(r, always, "flops") <= FLOPS and share(r, always, "reading") <= TIME]
        best = min(cheap or gated, key=lambda r: statistics.mean(r["bits"]))
        apart = statistics.mean(best["bits"]) - statistics.mean(always["bits"])
        flops, seconds = share(best, always, "flops"), share(best, always, "reading")
        shown = f"{apart:+.3f} BPC at {flops:.0%} of the FLOPs and {seconds:.0%} of the time ({best['label']})"
        if cheap and apart <= EQUAL:
            return [Verdict(claim, paper, shown, "reproduced", f"within {EQUAL} BPC")]
        other = min((r for r in result["rows"] if r["label"] in SHALLOW), key=lambda r: statistics.mean(r["bits"]))
        less = statistics.mean(other["bits"]) - statistics.mean(always["bits"])
        because = (
            f"the goal is {EQUAL} BPC at {FLOPS:.0%} of the FLOPs and {TIME:.0%} of the time; without a gate, "
            f"{other['label']}: {less:+.3f} BPC at {share(other, always, 'flops'):.0%} of the FLOPs"
        )
        return [Verdict(claim, paper, shown, "not reproduced", because)]


WHAT = ("density", "flops", "reading", "training")


def share(row: dict[str, Any], always: dict[str, Any], what: str) -> float:
    """What a row takes of what the graph takes in which all take part: the mean over seeds."""
    mean = statistics.mean(c[what] for c in row["cost"])
    if what in ("reading", "training") and "gates" in row["label"]:
        return mean  # measured against its own weights without the gates
    return mean if what == "density" else mean / statistics.mean(c[what] for c in always["cost"])


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _flat(fields: Fields) -> dict[str, Any]:
    """Fields of `--model` by dotted name.

    >>> _flat({"gate": {"kind": "active", "bias": 0.0}})
    {'gate': 'active', 'gate.bias': 0.0}
    """
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat[name] = value["kind"]
            flat |= {f"{name}.{k}": v for k, v in value.items() if k != "kind"}
        else:
            flat[name] = value
    return flat


def cost(run: str, limit: int | None, repeats: int = 5) -> dict[str, Any]:
    """Who takes part in a run's model on held-out text, and what that costs (a measure for `Lab.measure`).

    `reading` and `training` are medians of CPU seconds for 16 streams of 256 symbols, forward and forward with
    backward; of a model with gates they are divided by those of the same weights without them, measured in turns.
    """
    import torch

    from inn.inference.evaluate import evaluate
    from inn.inference.resting import spent, watched
    from inn.models.build import build_model
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    with watched(model) as shares:
        evaluate(model, dataset.valid[:limit], streams=16)
    models = [model]
    if shares:
        plain = build_model(replace(model.config, gate="none", gate_penalty=0.0))
        plain.load_state_dict({name: t for name, t in model.state_dict().items() if ".gate." not in name})
        models.append(plain)
    text = torch.as_tensor(dataset.valid[: 16 * 257]).long().view(16, 257)
    seconds: dict[tuple[int, str], list[float]] = {}
    for _ in range(repeats):
        for i, one in enumerate(models):
            for what in ("reading", "training"):
                one.train(what == "training")
                began = time.process_time()
                with torch.set_grad_enabled(what == "training"):
                    logits, _state = one(text[:, :-1])
                    if what == "training":
                        torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()).backward()
                one.zero_grad()
                seconds.setdefault((i, what), []).append(time.process_time() - began)
    found = {key: statistics.median(times) for key, times in seconds.items()}
    over = {what: found[0, what] / (found[1, what] if shares else 1.0) for what in ("reading", "training")}
    density = statistics.mean(shares.values()) if shares else 1.0
    return {"density": density, "shares": dict(shares), "flops": sum(spent(model, shares).values()), **over}
