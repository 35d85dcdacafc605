"""`series`: eight sets of time series, beside the accuracies that HC2 and InceptionTime have published."""

from __future__ import annotations

import statistics
from typing import Any

from inn_studies.lab import Lab
from inn_studies.tasks.series import SETS, published
from inn_studies.where.harness import Track
from inn_studies.where.intervals import shown
from inn_studies.where.row import Answer, Row, Scale, track_of
from inn_studies.where.speech import POOL, VOWELS, vowels

_STEPS = {"ACSF1": 150, "OSULeaf": 400, "BasicMotions": 150}


class Series(Row):
    """Classification of time series: aeon's sets in their standard split."""

    name = "series"
    question = "Eight sets of time series in their standard split: which class, beside HC2 and InceptionTime?"
    bar = "not behind InceptionTime on the mean of the sets that have published accuracies"
    baseline = "random convolutions, ridge"

    def tracks(self, scale: Scale) -> list[Track]:
        sets = [name for name in SETS if name != VOWELS][: scale.of(1, len(SETS))]
        tracks = [
            Track(
                name, "task:series", scale.of(2, _STEPS.get(name, 300)), scale.of(8, 16),
                {"name": name, "fold": SETS[name]}, model=POOL,
            )
            for name in sets
        ]  # fmt: skip
        return tracks + ([] if scale.name == "smoke" else [vowels(scale)])

    def run(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        result = super().run(lab, size, seeds)
        for track in result["tracks"]:
            for name, value in published(track["name"]).items():
                track["baseline"][f"{name}, published"] = {
                    "test": {"value": value, "sequences": track["tests"]["test"]}
                }
        return result

    def judge(self, result: dict[str, Any]) -> Answer:
        known = [t["name"] for t in result["tracks"] if "InceptionTime, published" in t["baseline"]]
        ours = self.ours(result)
        if not known:
            return Answer("undecided", "no set with published accuracies was measured")
        a = self.values(result, ours, [(name, "test") for name in known])
        theirs = [
            statistics.mean(track_of(result, name)["baseline"][f"{who}, published"]["test"]["value"] for name in known)
            for who in ("InceptionTime", "HC2")
        ]
        met = bool(a) and statistics.mean(a) >= theirs[0]
        behind = [name for name in known if _behind(result, ours, name)]
        where = f"; behind on {', '.join(behind)}" if behind else ""
        text = (
            f"mean of {len(known)} sets: {ours} {shown(a)}, InceptionTime {theirs[0]:.3f}, HC2 {theirs[1]:.3f}{where}"
        )
        return Answer("yes" if met else "no", text)


def _behind(result: dict[str, Any], ours: str, name: str) -> bool:
    track = track_of(result, name)
    scores = next(row["scores"].get("test") for row in track["rows"] if row["model"] == ours)
    return bool(scores) and statistics.mean(scores) < track["baseline"]["InceptionTime, published"]["test"]["value"]
