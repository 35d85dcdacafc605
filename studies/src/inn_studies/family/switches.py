"""43: gates, attention and recurrence as switches, in all combinations, on a chaotic system."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from inn.data.names import sizes_of
from inn.data.tasks.lorenz96 import Lorenz96, Lorenz96Options
from inn.models.build import parameters_of
from inn.models.size import with_parameters
from inn.registry import MEMORIES
from inn.system.errors import InputError
from inn_studies.family.entry import Criterion, Entry, mean, row, trained
from inn_studies.lab import Lab
from inn_studies.where.harness import Test, Track, configured
from inn_studies.where.rolled import Teller, right_steps, teller

CELLS = ("elman", "gru", "lstm", "rhn")
RESIDUALS = ("add", "learned", "input")
LOOKING = ("input", True), ("input", False)
"""The gate with attention, and without."""
WINDOW = 16
"""Own last steps that a neuron attends to."""
READ, TOLD, WRONG = 100, 300, 0.5
"""Steps that are read, steps that are told, and the error, in standard deviations, from which a forecast is wrong."""
LYAPUNOV = 1.68
"""The largest exponent with eight numbers and a forcing of 8, per unit of time."""
RATE = 1e-2
"""Of all models: at 0.004 those that were tried are worse after so few steps."""
CHEAP = ("persistence", "climatology")
PARAMETERS, NEAR = 20_000, 0.1
TIMES = 1.25
GRAPH = {"kind": "signal", "neurons": 1, "rounds": 2, "router": "none"}
"""One neuron without messages: a stack of two cells, as in the paper."""


def label(cell: str, residual: str, attend: bool) -> str:
    """What a combination is called.

    >>> label("gru", "input", True)
    'gru, input + attention'
    """
    return f"{cell}, {residual}{' + attention' if attend else ''}"


def combinations(sizes: dict[str, Any], cells: Sequence[str] = CELLS) -> dict[str, dict[str, Any]]:
    """The fields of every combination, at the width that comes nearest to the number of parameters."""
    found = {}
    for cell, residual, attend in itertools.product(cells, RESIDUALS, (False, True)):
        fields = {
            **GRAPH,
            "head": sizes["head"],
            "memory": cell,
            "residual": residual,
            **({"memory.attend": WINDOW} if attend else {}),
        }
        config = with_parameters(configured(fields, sizes), PARAMETERS)
        if abs(parameters_of(config) / PARAMETERS - 1) > NEAR:
            raise InputError(f"no width of {label(cell, residual, attend)} comes near {PARAMETERS:,} parameters")
        found[label(cell, residual, attend)] = {**fields, "width": config.width}
    return found


def valid_time(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """For how many Lyapunov times a run's forecasts are right, in the mean (a measure of a `Test`).

    Args:
        options: `examples`, how many forecasts.
    """
    times = _times(teller(run, TOLD), part, options["examples"])
    return {"value": float(times.mean()), "sequences": options["examples"]}


def _times(tell: Teller, part: str, examples: int) -> np.ndarray:
    """Valid times of forecasts `tell(seen [n, READ, D])` `[n, TOLD, D]`, in Lyapunov times, `[n]`."""
    task, steps = trajectories(part, examples)
    return right_steps(tell, steps, READ, WRONG * steps.std()) * task.options.dt * LYAPUNOV


@cache
def trajectories(part: str, examples: int) -> tuple[Lorenz96, np.ndarray]:
    """The task, and trajectories `[n, READ + TOLD, D]` that training has not seen."""
    task = Lorenz96(Lorenz96Options(length=READ + TOLD, examples=examples))
    found = task.part(part)
    assert found is not None
    return task, found.inputs.reshape(examples, READ + TOLD, -1)


def baselines(part: str, examples: int) -> dict[str, float]:
    """The valid times of the last value and of the mean (a function for `Lab.compute`)."""
    _, steps = trajectories(part, examples)
    mean_of = steps[:, :READ].mean((0, 1))
    told = {
        "persistence": lambda seen: np.repeat(seen[:, -1:], TOLD, 1),
        "climatology": lambda seen: np.broadcast_to(mean_of, (len(seen), TOLD, mean_of.size)),
    }
    return {name: float(_times(tell, part, examples).mean()) for name, tell in told.items()}


class Switches(Entry):
    """Cells, three residuals, with and without attention: 24 models of one size."""

    number = 43
    title = "Gates, attention and recurrence as switches"
    source = "*Deconstructing Recurrence, Attention, and Gating*, [arXiv 2410.02654](https://arxiv.org/abs/2410.02654)"
    claim = (
        "gates and attention help recurrent networks in most tasks, and a recurrent highway network with both is best "
        "on high-dimensional dynamics."
    )
    home = "memories `elman` `gru` `lstm` `rhn`, `residual` of a graph, `attend` of a memory"
    control = "all models at one size (± 10 % of 20,000 parameters), and at one learning rate; persistence; climatology"
    score = "valid time of free forecasts of Lorenz's ring of 8 (1996), in Lyapunov times"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        if missing := [cell for cell in CELLS if cell not in MEMORIES]:
            raise InputError(f"memory '{missing[0]}' is not there")
        few = {"examples": size.of(4, 100)}
        tests = {"valid time": Test(few, by="inn_studies.family.switches:valid_time")}
        options = {"length": size.of(8, 100), "examples": size.of(4, 100)}
        track = Track("lorenz96", "task:lorenz96", size.of(2, 300), size.of(2, 16), options, tests)
        sizes = sizes_of(track.data().vocabulary)
        models = combinations(sizes, size.of(("gru",), CELLS))
        rows = trained(lab, track, models, size, seeds, rates=(RATE,))
        cheap = lab.compute(baselines, {"cheap": {"part": "test", **few}})["cheap"]
        rows += [row(name, {"valid time": [cheap[name]]}, control=True) for name in CHEAP]
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        gates, looks = ratios(result, ("input", False), ("add", False)), ratios(result, *LOOKING)
        cheap = max(mean(result, name, "valid time") for name in CHEAP)
        worst = min(mean(result, label(cell, "input", False), "valid time") for cell in gates)
        off = max(abs(row["parameters"] / PARAMETERS - 1) for row in result["rows"] if "parameters" in row)
        return [
            Criterion.of("gate", f"≥ {TIMES:g}× addition in 4 of 4 cells", _said(gates), _all(gates, TIMES)),
            Criterion.of("attention with the gate", "≥ without, in 4 of 4", _said(looks), _all(looks, 1)),
            Criterion.of("baselines", f"gated cells above {cheap:.2f}", f"worst {worst:.2f}", worst > cheap),
            Criterion.of("size", "all within 10 %", f"{off:.1%}", off <= NEAR),
        ]

    def found(self, result: dict[str, Any]) -> str:
        values = {r["model"]: mean(result, r["model"], "valid time") for r in result["rows"] if not r["control"]}
        best = max(values, key=lambda name: values[name])
        rate = ratios(result, ("learned", False), ("add", False))
        alone = ratios(result, ("add", True), ("add", False))
        return (
            f"the best of {len(values)} is {best} ({values[best]:.2f}). To addition, a learned rate is {_said(rate)}, "
            f"and attention without the gate {_said(alone)}. Every cell has a norm before it, and the head tells the "
            "change from the last value."
        )


def ratios(result: dict[str, Any], a: tuple[str, bool], b: tuple[str, bool]) -> dict[str, float]:
    """By how much one residual, with or without attention, is better than another, in each cell that has both."""
    known = {row["model"] for row in result["rows"]}
    cells = [cell for cell in CELLS if all(label(cell, *way) in known for way in (a, b))]
    of = {cell: [mean(result, label(cell, *way), "valid time") for way in (a, b)] for cell in cells}
    return {cell: ours / theirs if theirs else float("inf") for cell, (ours, theirs) in of.items()}


def _all(found: dict[str, float], least: float) -> bool | None:
    return min(found.values()) >= least if set(found) == set(CELLS) else None


def _said(ratios: dict[str, float]) -> str:
    return ", ".join(f"{cell} {ratio:.2f}×" for cell, ratio in ratios.items())
