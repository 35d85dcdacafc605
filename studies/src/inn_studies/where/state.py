"""`state`: states that have to be counted, and sequences six times as long as those in training."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, ClassVar

from inn_studies.where.harness import GRAPH, Test, Track
from inn_studies.where.intervals import shown
from inn_studies.where.row import MODELS, Answer, Row, Scale, track_of

_TASKS = {
    "parity": ("task:parity", {}),
    "mod 5": ("task:modular", {"form": "sum", "modulus": 5}),
    "S3": ("task:permutations", {"group": "S3"}),
    "S5": ("task:permutations", {"group": "S5"}),
}
COUNTED = ("parity", "mod 5", "S3")


class State(Row):
    """Parity, sums modulo 5, and products of permutations: trained to length 40, tested at 256."""

    name = "state"
    question = "Parity, sums modulo 5, permutations S3 and S5, trained to length 40: are they right at length 256?"
    bar = "1.00 at length 256 on parity, mod 5 and S3 by a graph; S5 reported"
    best: ClassVar[Mapping[str, Any]] = {**GRAPH, "memory": "gru"}
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "delta": {**GRAPH, "memory": "delta", "memory.products": 2, "memory.conv": 1, "memory.forget": False},
        "feedback": {**GRAPH, "memory": "mamba", "lag": 1},
        "locked, feedback": {**GRAPH, "memory": "locked", "lag": 1},
        "locked": {**GRAPH, "memory": "locked"},
    }

    def tracks(self, scale: Scale) -> list[Track]:
        long = {"length": 256, "examples": scale.of(10, 200, 1000)}
        # A rate is chosen by what training does not show: many have learned all of length 40.
        tests = {"40": Test(), "256": Test(long), "valid": Test(long, "valid")}
        tasks = dict(list(_TASKS.items())[: scale.of(1, 4)])
        return [
            Track(name, corpus, scale.of(2, 1000), scale.of(8, 64), {"length": 40, **options}, tests)
            for name, (corpus, options) in tasks.items()
        ]

    def headline(self, result: dict[str, Any]) -> list[tuple[str, str]]:
        return [(track["name"], "256") for track in result["tracks"] if track["name"] in COUNTED]

    def judge(self, result: dict[str, Any]) -> Answer:
        able = {
            name: [self.values(result, name, [(task, "256")]) for task, _ in self.headline(result)]
            for name in self._all(result)
        }
        can = [name for name, found in able.items() if all(v and statistics.mean(v) >= 0.995 for v in found)]
        graphs = [name for name in can if name not in MODELS[2:]]
        ours = graphs[0] if graphs else self.ours(result)
        found = {name: self.values(result, ours, [(name, "256")]) for name, _ in self.headline(result)}
        scores = ", ".join(f"{name} {shown(values)}" for name, values in found.items())
        others = f"; all three by {', '.join(can) or 'nobody'}; not by {', '.join(n for n in able if n not in can)}"
        return Answer("yes" if graphs else "no", f"{ours} at 256: {scores}{others}")

    def _all(self, result: dict[str, Any]) -> list[str]:
        """The models that were measured."""
        return [row["model"] for row in track_of(result, self.headline(result)[0][0])["rows"]]
