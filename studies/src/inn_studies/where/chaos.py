"""`chaos`: ten chaotic systems are learned, ten others forecast; for how long is the forecast right?"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from inn.data.tasks.attractors import ATTRACTORS, TRAIN
from inn.data.tasks.chaos import Chaos as ChaosTask
from inn.data.tasks.chaos import ChaosOptions
from inn_studies.lab import Lab
from inn_studies.where.harness import Test, Track
from inn_studies.where.intervals import shown
from inn_studies.where.row import MONOLITHS, Answer, Row, Scale

READ, TOLD, WRONG = 256, 300, 0.4
"""Steps that are read, steps that are told, and the error, in standard deviations, from which a forecast is wrong."""


def valid_time(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """The median valid time of a run's forecasts of systems, in Lyapunov times (a measure of a `Test`).

    Args:
        options: `systems`, `each` and `count`, see `_valid_time`.
    """
    from inn.runs.load import load_with_data

    model, _ = load_with_data(run)
    model.eval()

    def tell(seen: np.ndarray) -> np.ndarray:
        steps = []
        with torch.inference_mode():
            y, state = model(torch.from_numpy(seen))
            for _ in range(TOLD):
                steps.append(y[:, -1:].float())
                y, state = model(steps[-1], state)
        return torch.cat(steps, 1).numpy()

    return _valid_time(tell, part, **options)


def _valid_time(
    tell: Callable[[np.ndarray], np.ndarray], part: str, systems: str, each: int, count: int
) -> dict[str, Any]:
    """The median over the forecasts of all systems.

    Args:
        tell: from steps `[n, READ, 3]` to the next `[n, TOLD, 3]`.
        systems, each, count: which systems, forecasts of each, and how many of the systems.
    """
    names = [name for name in ATTRACTORS if (name in TRAIN) == (systems == "train")][:count]
    steps = np.concatenate([trajectories(name, part, each) for name in names])
    error = np.sqrt(((tell(np.ascontiguousarray(steps[:, :READ])) - steps[:, READ:]) ** 2).mean(-1))
    wrong = ~(error < WRONG)
    first = np.where(wrong.any(1), wrong.argmax(1), TOLD).reshape(len(names), each)
    found = first / np.array([ATTRACTORS[name].steps for name in names])[:, None]
    by_system = {name: float(np.median(of)) for name, of in zip(names, found, strict=True)}
    return {"value": float(np.median(found)), "sequences": found.size, "by_system": by_system}


@cache
def trajectories(name: str, part: str, each: int) -> np.ndarray:
    """Trajectories of a system `[each, READ + TOLD, 3]`, which training has not seen."""
    options = ChaosOptions(systems=name, length=READ + TOLD, examples=each)
    return ChaosTask(options).part(part).inputs.reshape(each, READ + TOLD, 3)


def last_cycle(seen: np.ndarray) -> np.ndarray:
    """What followed the last time that the steps were as they are now: `[n, T, 3]` to `[n, TOLD, 3]`."""
    told, like = np.empty((len(seen), TOLD, 3), np.float32), 4
    for row, past in enumerate(seen):
        now, ends = past[-like:], np.arange(like, len(past) - 8)
        apart = [((past[end - like : end] - now) ** 2).sum() for end in ends]
        begin = int(ends[int(np.argmin(apart))])
        told[row] = np.resize(past[begin:], (TOLD, 3))
    return told


def copied(part: str, systems: str, each: int, count: int) -> dict[str, Any]:
    """The score of the last cycle, copied (a function for `Lab.compute`)."""
    return _valid_time(last_cycle, part, systems, each, count)


class Chaos(Row):
    """Forecasts of chaotic systems that were never seen."""

    name = "chaos"
    question = "Ten chaotic systems are learned, ten others forecast: for how many Lyapunov times rightly?"
    bar = "median valid time ≥ 1 on unseen systems at ≤ 100,000 parameters, and ahead of all others"
    score = "valid time in Lyapunov times"
    share = False
    baseline = "last cycle, copied"

    def tracks(self, scale: Scale) -> list[Track]:
        by, few = "inn_studies.where.chaos:valid_time", {"each": scale.of(2, 12, 24), "count": scale.of(2, 10)}
        tests = {
            "trained systems": Test({"systems": "train", **few}, by=by),
            "unseen systems": Test({"systems": "unseen", **few}, by=by),
            "valid": Test({"systems": "train", **few}, "valid", by),
        }
        options = {"sequences": scale.of(20, 4000)}
        graph = {"neurons": 4, "width": 20, "rounds": 2}
        return [Track("flows", "task:chaos", scale.of(2, 2500, 8000), scale.of(4, 32), options, tests, graph)]

    def headline(self, result: dict[str, Any]) -> list[tuple[str, str]]:
        return [("flows", "unseen systems")]

    def floors(self, lab: Lab, tracks: list[Track]) -> dict[str, Any]:
        cases = {name: {"part": test.part, **test.options} for name, test in tracks[0].tests.items()}
        return {"flows": {"scores": lab.compute(copied, cases)}}

    def judge(self, result: dict[str, Any]) -> Answer:
        ours, lead = self.ours(result), self.lead(result)
        values, copy = self.values(result, ours), self.baseline_value(result) or 0.0
        if not values or statistics.mean(values) < 1 or statistics.mean(values) <= copy or lead.answer == "no":
            rival = self.rival(result, MONOLITHS)
            other = f"best other ({rival}) {shown(self.values(result, rival))}" if rival else "no other was measured"
            return Answer("no", f"{ours} {shown(values)}, {other}, last cycle {copy:.3f}")
        return Answer(lead.answer, f"{lead.because}; last cycle {copy:.3f}")
