"""`chaos`: ten chaotic systems are learned, ten others forecast; for how long is the forecast right?"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from inn_studies.lab import Lab
from inn_studies.tasks.flows import exponent, series, systems
from inn_studies.where.harness import Test, Track
from inn_studies.where.intervals import shown
from inn_studies.where.row import MONOLITHS, Answer, Row, Scale

READ, TOLD, WRONG = 256, 300, 0.4
"""Steps that are read, steps that are told, and the error, in standard deviations, from which a forecast is wrong."""


def valid_time(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """The median valid time of a run's forecasts of systems, in Lyapunov times (a measure of a `Test`).

    Args:
        options: `systems` trained or unseen, and `each`: forecasts of every system.
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


def _valid_time(tell: Callable[[np.ndarray], np.ndarray], part: str, systems: str, each: int) -> dict[str, Any]:
    times = {name: lasting(tell, name, part, each) for name in _names(systems)}
    found = np.concatenate(list(times.values()))
    by_system = {name: float(np.median(of)) for name, of in times.items()}
    return {"value": float(np.median(found)), "sequences": len(found), "by_system": by_system}


def _names(which: str) -> list[str]:
    return systems(which)


def lasting(tell: Callable[[np.ndarray], np.ndarray], name: str, part: str, each: int) -> np.ndarray:
    """For how long forecasts of a system are right, `[each]`, in Lyapunov times.

    Args:
        tell: from steps `[n, T, 3]` to the next `[n, TOLD, 3]`.
    """
    found = series(name, part)[:each]
    told = tell(np.ascontiguousarray(found[:, :READ]))
    error = np.sqrt(((told - found[:, READ : READ + TOLD]) ** 2).mean(-1))
    wrong = ~(error < WRONG)
    first = np.where(wrong.any(1), wrong.argmax(1), TOLD)
    return first * exponent(name)


def last_cycle(seen: np.ndarray) -> np.ndarray:
    """What followed the last time that the steps were as they are now: `[n, T, 3]` to `[n, TOLD, 3]`."""
    told, like = np.empty((len(seen), TOLD, 3), np.float32), 4
    for row, past in enumerate(seen):
        now, ends = past[-like:], np.arange(like, len(past) - 8)
        apart = [((past[end - like : end] - now) ** 2).sum() for end in ends]
        begin = int(ends[int(np.argmin(apart))])
        told[row] = np.resize(past[begin:], (TOLD, 3))
    return told


def copied(which: str, part: str, each: int) -> dict[str, Any]:
    """The score of the last cycle, copied (a function for `Lab.compute`)."""
    return _valid_time(last_cycle, part, which, each)


class Chaos(Row):
    """Forecasts of chaotic systems that were never seen."""

    name = "chaos"
    question = "Ten chaotic systems are learned, ten others forecast: for how many Lyapunov times rightly?"
    bar = "median valid time ≥ 1 on unseen systems at ≤ 100,000 parameters, and ahead of all others"
    score = "valid time in Lyapunov times"
    share = False
    baseline = "last cycle, copied"

    def tracks(self, scale: Scale) -> list[Track]:
        by, each = "inn_studies.where.chaos:valid_time", scale.of(2, 12, 24)
        tests = {f"{which} systems": Test({"systems": which, "each": each}, by=by) for which in ("trained", "unseen")}
        tests["valid"] = Test({"systems": "trained", "each": each}, "valid", by)
        graph = {"neurons": 4, "width": 20, "rounds": 2}
        return [Track("flows", "task:flows", scale.of(2, 2500, 8000), scale.of(4, 32), {}, tests, graph)]

    def headline(self, result: dict[str, Any]) -> list[tuple[str, str]]:
        return [("flows", "unseen systems")]

    def floors(self, lab: Lab, tracks: list[Track]) -> dict[str, Any]:
        cases = {
            name: {"which": test.options["systems"], "part": test.part, "each": test.options["each"]}
            for name, test in tracks[0].tests.items()
        }
        return {"flows": {"scores": lab.compute(copied, cases)}}

    def judge(self, result: dict[str, Any]) -> Answer:
        ours, lead = self.ours(result), self.lead(result)
        values, copy = self.values(result, ours), self.baseline_value(result) or 0.0
        if not values or statistics.mean(values) < 1 or statistics.mean(values) <= copy or lead.answer == "no":
            rival = self.rival(result, MONOLITHS)
            other = f"best other ({rival}) {shown(self.values(result, rival))}" if rival else "no other was measured"
            return Answer("no", f"{ours} {shown(values)}, {other}, last cycle {copy:.3f}")
        return Answer(lead.answer, f"{lead.because}; last cycle {copy:.3f}")
