"""`chaos`: ten chaotic systems are learned, ten others forecast; for how long is the forecast right?"""

from __future__ import annotations

import statistics
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from inn.data.tasks.attractors import ATTRACTORS, TRAIN
from inn.data.tasks.chaos import Chaos as ChaosTask
from inn.data.tasks.chaos import ChaosOptions
from inn_studies.lab import Lab
from inn_studies.where.harness import Test, Track
from inn_studies.where.rolled import Teller, right_steps, teller
from inn_studies.where.row import Answer, Row, Scale, track_of

READ, TOLD, WRONG = 256, 300, 0.4
"""Steps that are read, steps that are told, and the error, in standard deviations, from which a forecast is wrong."""
UNSEEN, FEW = "unseen systems", 3
"""The test that counts; and forecasts of each system by Fracast-0, which is slow."""


def valid_time(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """The median valid time of a run's forecasts of systems, in Lyapunov times (a measure of a `Test`).

    Args:
        options: `systems`, `each` and `count`, see `_valid_time`.
    """
    return _valid_time(teller(run, TOLD), part, **options)


def _valid_time(tell: Teller, part: str, systems: str, each: int, count: int) -> dict[str, Any]:
    """The median over the forecasts of all systems.

    Args:
        tell: from steps `[n, READ, 3]` to the next `[n, TOLD, 3]`.
        systems, each, count: which systems, forecasts of each, and how many of the systems.
    """
    names = [name for name in ATTRACTORS if (name in TRAIN) == (systems == "train")][:count]
    steps = np.concatenate([trajectories(name, part, each) for name in names])
    right = right_steps(tell, steps, READ, WRONG).reshape(len(names), each)
    found = right / np.array([ATTRACTORS[name].steps for name in names])[:, None]
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


def fracast(part: str, systems: str, each: int, count: int) -> dict[str, Any]:
    """The score of Fracast-0, 85,001 parameters trained on other series, channel by channel; its middle quantile."""
    model = import_module("fracast").FracastModel.from_pretrained()

    def tell(seen: np.ndarray) -> np.ndarray:
        rows = seen.swapaxes(1, 2).reshape(-1, seen.shape[1])
        parts = [model.forecast_batch(rows[at : at + 12], horizon=TOLD) for at in range(0, len(rows), 12)]
        told = np.concatenate(parts)[..., len(model.quantiles) // 2]
        return told.reshape(len(seen), 3, TOLD).swapaxes(1, 2)

    return _valid_time(tell, part, systems, each, count)


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
            UNSEEN: Test({"systems": "unseen", **few}, by=by),
            "valid": Test({"systems": "train", **few}, "valid", by),
        }
        options = {"sequences": scale.of(20, 4000)}
        graph = {"neurons": 4, "width": 20, "rounds": 2}
        # No forecast needs more of the past than training shows; beyond it the Transformer's positions are new to it.
        length = ChaosOptions().length
        return [Track("flows", "task:chaos", scale.of(2, 2500), scale.of(4, 32), options, tests, graph, window=length)]

    def headline(self, result: dict[str, Any]) -> list[tuple[str, str]]:
        return [("flows", UNSEEN)]

    def run(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        result = super().run(lab, size, seeds)
        if find_spec("fracast") is not None and size.name != "smoke":
            for track in result["tracks"]:
                cases = _cases(self.tracks(size)[0], each=FEW)
                track["baseline"]["Fracast-0, pretrained"] = lab.compute(fracast, {UNSEEN: cases[UNSEEN]})
        return result

    def floors(self, lab: Lab, tracks: list[Track]) -> dict[str, Any]:
        return {"flows": {"scores": lab.compute(copied, _cases(tracks[0]))}}

    def judge(self, result: dict[str, Any]) -> Answer:
        ours, lead = self.ours(result), self.lead(result)
        values = self.values(result, ours)
        cheap = {name: scores[UNSEEN]["value"] for name, scores in track_of(result, "flows")["baseline"].items()}
        text = "; ".join([lead.because, *(f"{name} {value:.3f}" for name, value in cheap.items())])
        if not values or statistics.mean(values) < max(1.0, *cheap.values()):
            return Answer("no", text)
        return Answer(lead.answer, text)


def _cases(track: Track, **options: Any) -> dict[str, dict[str, Any]]:
    return {name: {"part": test.part, **test.options, **options} for name, test in track.tests.items()}
