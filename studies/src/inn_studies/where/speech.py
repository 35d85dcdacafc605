"""`speech`: vowels and spoken digits, with two speakers that were never heard."""

from __future__ import annotations

import statistics
from typing import Any

from inn_studies.where.harness import Test, Track
from inn_studies.where.intervals import shown
from inn_studies.where.row import Answer, Row, Scale, track_of

VOWELS, DIGITS, UNSEEN = "JapaneseVowels", "spoken digits", "unseen speakers"


def vowels(scale: Scale, tests: dict[str, Test] | None = None) -> Track:
    """JapaneseVowels, as every row that has it trains it."""
    steps = scale.of(2, 500)
    return Track(VOWELS, "task:series", steps, scale.of(8, 32), {"name": VOWELS}, tests or {"test": Test()}, model=POOL)


POOL = {"pool": "mean"}
"""A class is said from the mean of the hidden states so far, in all models."""


class Speech(Row):
    """JapaneseVowels in its standard split; spoken digits of four speakers, tested on them and on two others."""

    name = "speech"
    question = "JapaneseVowels, and spoken digits of speakers that were never heard: how many are recognised?"
    bar = "vowels ≥ 0.985 in < 60 s of a core; unseen speakers ≥ 0.90 and ≥ LSTM + 0.03"
    baseline = "random convolutions, ridge"

    def tracks(self, scale: Scale) -> list[Track]:
        tests = {"official": Test(), UNSEEN: Test({"speakers": "unseen"})}
        digits = Track(DIGITS, "task:spoken", scale.of(2, 1000), scale.of(8, 32), {}, tests, model=POOL)
        return [vowels(scale), digits][: scale.of(1, 2)]

    def judge(self, result: dict[str, Any]) -> Answer:
        ours = self.ours(result)
        seconds = next(r for r in track_of(result, VOWELS)["rows"] if r["model"] == ours)["training_seconds"]
        said = self.values(result, ours, [(VOWELS, "test")])
        if len(result["tracks"]) < 2 or not said:
            return Answer("undecided", f"vowels {shown(said)}")
        new, lstm = (self.values(result, name, [(DIGITS, UNSEEN)]) for name in (ours, "LSTM"))
        met = [
            statistics.mean(said) >= 0.985 and seconds < 60,
            bool(new and lstm) and statistics.mean(new) >= max(0.9, statistics.mean(lstm) + 0.03),
        ]
        text = f"{ours}: vowels {shown(said)} in {seconds:.0f} s; unseen speakers {shown(new)}, LSTM {shown(lstm)}"
        return Answer("yes" if all(met) else "half of it" if any(met) else "no", text)
