"""7: neurons that stay out of a step: what gates choose without a price, with one, and with too high a one."""

from __future__ import annotations

import statistics
from typing import Any

from inn_studies.family.entry import Criterion, Entry, mean, scores, trained
from inn_studies.lab import Lab
from inn_studies.where.harness import Test, Track

ALWAYS, NEVER, FREE = "all take part, always", "none takes part, ever", "gates, no price"
PRICED, HIGH, DEAR = "gates, a price", "gates, a high price", "gates, a far higher price"
PRICES = {FREE: 0.0, PRICED: 0.02, HIGH: 0.3, DEAR: 2.0}
"""Nats for a neuron that takes part in all steps, picked after trials at seed 0, on the validation part.

They were 0, 0.03 and 0.1 (1,000 steps), 0.05 (2,000), 0.02 (2,500), 0.3 (400) and 2 (600).
"""
GRAPH = {
    "kind": "inn",
    "neurons": 4,
    "width": 16,
    "rounds": 2,
    "recall": "none",
    "memory": "delta",
    "router": "attention",
}
MODELS = {
    ALWAYS: GRAPH,
    NEVER: {**GRAPH, "memory": "none", "router": "none"},
    **{label: {**GRAPH, "gate": "active", "gate_penalty": price} for label, price in PRICES.items()},
}
COST, DENSITY, CHANCE = 0.01, 0.25, 0.3
TEST, SHARE, TOLD = "test", "density", "warnings"


def density(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """The share of (neuron, round, step) that takes part, in the mean over a part (a measure of a `Test`)."""
    import torch

    from inn.inference.resting import taking_part
    from inn.runs.load import load_with_data

    model, data = load_with_data(run)
    inputs = data.examples(part).padded()[0][: options["most"]]  # type: ignore[attr-defined]
    found = taking_part(model, torch.from_numpy(inputs.copy()))
    return {"value": statistics.mean(found.values()) if found else options["without"], "sequences": len(inputs)}


def told(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """How many gates the run has warned of, that they let none take part (a measure of a `Test`)."""
    from inn.runs.directory import Run

    lines = [line["message"] for line in Run(run).metrics() if line["event"] == "warning"]
    return {"value": sum(line.startswith("no neuron has taken part") for line in lines), "sequences": len(lines)}


class Resting(Entry):
    """A graph on associations, whose neurons take part in a round where they choose to."""

    number = 7
    title = "Neurons that stay out of a step"
    source = "*Sparse Modular Activation*, [arXiv 2306.11197](https://arxiv.org/abs/2306.11197)"
    claim = "modules that are active only where they choose to be are as good as those that always are, and cost less."
    home = "`gate: active`, `gate_penalty`; `active.*` in the training log, with a warning of a gate that collapses"
    control = "the graph without gates; without rounds at all; gates without a price"
    score = "accuracy on `task:recall`, the share of neurons that take part in a step, gates that a run has warned of"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        rows = []
        for label, model in MODELS.items():
            tests = {TEST: Test()}
            if label not in (ALWAYS, NEVER):
                here = "inn_studies.family.resting:"
                tests[SHARE] = Test({"most": size.of(10, 500), "without": 1.0}, by=f"{here}density")
                tests[TOLD] = Test(by=f"{here}told")
            track = Track("resting", "task:recall", size.of(2, 2500), 32, tests=tests)
            controls = [name for name in (ALWAYS, NEVER, FREE) if name == label]
            rows += trained(lab, track, {label: model}, size, seeds, rates=(8e-3,), controls=controls)
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        always, priced = mean(result, ALWAYS, TEST), mean(result, PRICED, TEST)
        share, dense, never = mean(result, PRICED, SHARE), mean(result, FREE, SHARE), mean(result, NEVER, TEST)
        fallen = [
            warned > 0
            for label in (HIGH, DEAR)
            for right, warned in zip(scores(result, label, TEST), scores(result, label, TOLD), strict=True)
            if right <= CHANCE
        ]
        return [
            Criterion.of("accuracy", "≥ always − 0.01", f"{priced:.3f} against {always:.3f}", priced >= always - COST),
            Criterion.of("density", f"≤ {DENSITY}", f"{share:.3f}", share <= DENSITY),
            Criterion.of("control", f"≤ {CHANCE} where none takes part", f"{never:.3f}", never <= CHANCE),
            Criterion.of("price", "without one, a density above this", f"{dense:.3f}", dense > DENSITY),
            Criterion.of(
                "collapse", f"every run under a higher price that is right on ≤ {CHANCE} says so",
                f"{sum(fallen)} of {len(fallen)}", bool(fallen) and all(fallen),
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        each = ", ".join(
            f"{price:g} nats {mean(result, label, SHARE):.0%} (accuracy {mean(result, label, TEST):.2f})"
            for label, price in PRICES.items()
        )
        return (
            f"the price decides how many take part in a step: at {each}. The paper's loss has none. "
            "Prices were picked after trials at seed 0, on the validation part."
        )
