"""32b: a population's recording with the animal's behaviour beside it: the wiring, and what behaviour is worth."""

from __future__ import annotations

from typing import Any

from inn.system.packages import require
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.examples import example
from inn_studies.lab import Lab

DRIVEN, UNDRIVEN = "running drives ten cells", "running drives nobody"
FOUND, TRANSPOSED, SHUFFLED = "AUROC", "transposed", "cells shuffled"
SILENCED, NEVER, LOGISTIC = "silenced", "never saw", "never saw, logistic"
LEAST, TURNED, CHANCE = 0.9, 0.6, 0.05
MASKED, ABSENT, NOTHING = 0.01, 0.02, 0.01
"""In bits per spike: masked after training, never seen, and where there is nothing to see, at most."""


def measured(seed: int, steps: int, updates: int, drive: float) -> dict[str, float]:
    """What the example measures of one circuit (for `Lab.compute`)."""
    return example("population", "32b").measured(seed, steps, updates, drive)


class Behaviour(Entry):
    """A graph of 30 simulated cells and a neuron of the behaviour."""

    number = "32b"
    title = "A recorded population and its behaviour"
    source = "*Neuroformer*, [arXiv 2311.00136](https://arxiv.org/abs/2311.00136)"
    claim = (
        "a model of a population's spikes that is given behaviour as well infers who drives whom, direction included, "
        "and training on both together predicts better than without one of them."
    )
    home = "`inn.analysis.wiring`, `inn.analysis.silenced`, router `dendrites`; `examples/population.py`"
    control = (
        "a circuit that the behaviour does not drive; directions turned round, cells shuffled; logistic regression"
    )
    score = (
        "AUROC over the circuit's edges; bits per spike of the last fifth, and what it costs to be without behaviour"
    )

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        require("sklearn", "entry 32b", "sklearn")
        given, rows = {"steps": size.of(1000, 20_000), "updates": size.of(3, 300)}, []
        for label, drive in ((DRIVEN, 1.0), (UNDRIVEN, 0.0)):
            cases = {f"{label} {seed}": {"seed": seed, "drive": drive, **given} for seed in range(1, seeds + 1)}
            found = list(lab.compute(measured, cases).values())
            tests = [test for test in found[0] if test != "commit"]
            rows.append(row(label, {test: [f[test] for f in found] for test in tests}, control=label == UNDRIVEN))
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        found, turned, mixed, masked, absent = (
            scores(result, DRIVEN, test) for test in (FOUND, TRANSPOSED, SHUFFLED, SILENCED, NEVER)
        )
        none = [*scores(result, UNDRIVEN, SILENCED), *scores(result, UNDRIVEN, NEVER)]
        enough = len(found) > 2

        def judged(id: str, goal: str, measured: str, met: bool) -> Criterion:
            return Criterion.of(id, goal, measured, met if enough else None)

        least, off = min(found), max(abs(v - 0.5) for v in mixed)
        return [
            judged("AUROC", f"≥ {LEAST} in 3 of 3 circuits", f"least {least:.3f}", least >= LEAST),
            judged("transposed", f"≤ {TURNED}", f"most {max(turned):.3f}", max(turned) <= TURNED),
            judged("cells shuffled", f"0.5 ± {CHANCE}", f"off by {off:.3f} at most", off <= CHANCE),
            judged("behaviour masked", f"costs ≥ {MASKED} bits per spike in 3 of 3",
                   ", ".join(f"{v:+.3f}" for v in masked), min(masked) >= MASKED),
            judged("behaviour never seen", f"costs ≥ {ABSENT} bits per spike in 3 of 3",
                   ", ".join(f"{v:+.3f}" for v in absent), min(absent) >= ABSENT),
            judged("control: it drives nobody", f"either costs ≤ {NOTHING}", f"most {max(none):+.3f}",
                   max(none) <= NOTHING),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        apart = scores(result, UNDRIVEN, NEVER)
        return (
            f"logistic regression of each cell, the kind of model that made the spikes, tells the wiring at "
            f"{mean(result, DRIVEN, 'AUROC, logistic'):.3f}, needs {mean(result, DRIVEN, 'bits, logistic'):.2f} bits "
            f"per spike where the graph needs {mean(result, DRIVEN, 'bits'):.2f}, and loses "
            f"{mean(result, DRIVEN, LOGISTIC):.3f} without the behaviour. A graph that never saw it finds the wiring "
            f"as well ({mean(result, DRIVEN, 'AUROC, never saw'):.3f}). Two graphs trained apart differ by "
            f"{min(apart):+.3f} to {max(apart):+.3f} bits where the behaviour drives nobody: after so short a training "
            "what it is worth shows in one graph, by silencing, and not from one to another."
        )
