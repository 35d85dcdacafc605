"""`needle`: what was stored is asked for after up to 100,000 steps of noise."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, ClassVar

from inn_studies.where.harness import Test, Track
from inn_studies.where.intervals import shown
from inn_studies.where.row import Answer, Row, Scale

_TASKS = {"key and value": "task:needle", "logic": "task:causal", "addition": "task:accumulate"}
STORED = ("key and value", "logic")


def _graph(locked: int, plastic: int, lag: int = 1) -> dict[str, Any]:
    """So many locked and plastic neurons that hear one another, themselves included."""
    groups = [{"neurons": n, "memory": m} for n, m in ((locked, "locked"), (plastic, "gru")) if n]
    return {"population": groups, "rounds": 1, "lag": lag, "recall": "none"}


class Needle(Row):
    """A pair, two booleans with an operator, two numbers to add: trained on 64 steps, asked after far more."""

    name = "needle"
    question = "A key and its value, two booleans, two numbers: are they there after thousands of steps of noise?"
    bar = "storage and logic 1.00 at 100,000 steps, at ≤ 10,000 parameters; addition reported"
    best: ClassVar[Mapping[str, Any]] = _graph(4, 0)
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "3 locked, 1 plastic": _graph(3, 1),
        "4 plastic": _graph(0, 4),
        "4 locked, no feedback": _graph(4, 0, lag=0),
        "3 locked, 1 plastic, no feedback": _graph(3, 1, lag=0),
    }

    def tracks(self, scale: Scale) -> list[Track]:
        lengths = scale.of(
            {"200": 4}, {"64": 200, "2,000": 100, "100,000": 16}, {"64": 1000, "2,000": 200, "100,000": 32}
        )
        tests = {
            length: Test({"noise": int(length.replace(",", "")) - 3, "examples": examples})
            for length, examples in lengths.items()
        }
        # A rate is chosen by what training does not show: everybody has learned 64 steps.
        tests["valid"] = Test({"noise": scale.of(61, 1997), "examples": scale.of(4, 50)}, "valid")
        graph = {"neurons": 2, "width": 12, "rounds": 1}
        return [
            Track(name, corpus, scale.of(2, 1000), scale.of(8, 64), {"noise": 61}, tests, graph)
            for name, corpus in list(_TASKS.items())[: scale.of(1, 3)]
        ]

    def headline(self, result: dict[str, Any]) -> list[tuple[str, str]]:
        return [(t["name"], list(t["tests"])[-1]) for t in result["tracks"] if t["name"] in STORED]

    def judge(self, result: dict[str, Any]) -> Answer:
        ours, longest = self.ours(result), self.headline(result)[0][1]
        found = {name: self.values(result, ours, [(name, test)]) for name, test in self.headline(result)}
        met = longest == "100,000" and all(v and statistics.mean(v) >= 0.995 for v in found.values())
        scores = ", ".join(f"{name} {shown(values)}" for name, values in found.items())
        parts = {label: self.values(result, label) for label in self.variants}
        others = "".join(f"; {label} {shown(values)}" for label, values in parts.items() if values)
        return Answer("yes" if met else "no", f"{ours} at {longest} steps: {scores}{others}")
