"""`damage`: channels that are absent and neurons that are silenced, at test only."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from inn_studies.where.harness import Test, Track
from inn_studies.where.intervals import shown
from inn_studies.where.row import Answer, Row, Scale, track_of
from inn_studies.where.speech import VOWELS, vowels

BLOCKS = 4
"""Blocks of neighbouring channels, of which one is absent at a time."""


def absent(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """The accuracy that is lost where a block of channels is absent, the mean over blocks (a measure of a `Test`)."""
    from inn.inference.examples import evaluate_examples
    from inn.runs.load import load_with_data

    model, data = load_with_data(run)
    examples = data.examples(part)  # type: ignore[attr-defined]
    whole, channels = evaluate_examples(model, examples).metrics["accuracy"], examples.inputs.shape[1]
    lost = []
    for block in np.array_split(np.arange(channels), BLOCKS):
        inputs = examples.inputs.copy()
        inputs[:, block] = np.nan
        lost.append(whole - evaluate_examples(model, replace(examples, inputs=inputs)).metrics["accuracy"])
    return {"value": statistics.mean(lost), "sequences": len(examples), "blocks": lost}


def silenced(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """The accuracy that is lost where one neuron is silenced, the mean over neurons; None of other models."""
    from inn.analysis.lesions.lesion import silenced as silent
    from inn.inference.examples import evaluate_examples
    from inn.runs.load import load_with_data

    model, data = load_with_data(run)
    neurons = getattr(model.config, "neurons", 1)
    if neurons == 1:
        return {"value": None, "sequences": 0}
    examples = data.examples(part)  # type: ignore[attr-defined]
    whole, lost = evaluate_examples(model, examples).metrics["accuracy"], []
    for neuron in range(neurons):
        with silent(model, [neuron]):
            lost.append(whole - evaluate_examples(model, examples).metrics["accuracy"])
    return {"value": statistics.mean(lost), "sequences": len(examples), "neurons": lost}


class Damage(Row):
    """JapaneseVowels with a quarter of its channels absent at test; the best graph alone is trained with absences."""

    name = "damage"
    question = "JapaneseVowels with a quarter of the channels absent at test only: how much accuracy is lost?"
    bar = "accuracy lost at one absent block ≤ 0.03, of 0.95 or more"
    score = "accuracy lost"
    share, higher = False, False
    baseline = ""
    best: ClassVar[Mapping[str, Any]] = {"neurons": BLOCKS, "rounds": 2, "channels": "split", "absent": 0.25}
    """A neuron for each block of channels, skipped where those are absent, and in a quarter of the sequences."""

    def tracks(self, scale: Scale) -> list[Track]:
        where = "inn_studies.where.damage"
        tests = {
            "nothing": Test(),
            "one neuron silenced": Test(by=f"{where}:silenced"),
            "one block absent": Test(by=f"{where}:absent"),
        }
        return [vowels(scale, tests)]

    def _best(self, done: Any, track: int, name: str, rates: Any) -> float:
        """The rate is chosen by accuracy, of which more is better."""
        scores = {rate: done[track, name, rate, 0]["scores"].get("valid") for rate in rates}
        good = {rate: score["value"] for rate, score in scores.items() if score is not None}
        return max(good, key=lambda rate: good[rate]) if good else min(rates)

    def judge(self, result: dict[str, Any]) -> Answer:
        ours = self.ours(result)
        lost, right = (self.values(result, ours, [(VOWELS, test)]) for test in ("one block absent", "nothing"))
        met = bool(lost) and statistics.mean(lost) <= 0.03 and statistics.mean(right) >= 0.95
        block = track_of(result, VOWELS)
        others = ", ".join(
            f"{row['model']} {shown(row['scores'].get('one block absent', []))}"
            for row in block["rows"]
            if row["model"] != ours
        )
        return Answer("yes" if met else "no", f"{ours} loses {shown(lost)} of {shown(right)}; {others}")
