"""`machines`: several finite machines in one stream, more of them than in training."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, ClassVar

from inn_studies.where.harness import Test, Track
from inn_studies.where.intervals import shown
from inn_studies.where.row import MONOLITHS, Answer, Row, Scale

FOUR = {"active": 4, "least": 4}
MACHINES, STATES = 6, 6
LEARNED = {
    "neurons": MACHINES,
    "rounds": 1,
    "input": "copy",
    "weights": "shared",
    "memory": "gru",
    "router": "none",
    "readout": "mean",
    "recall": "none",
    "gate": "address",
}
"""Neurons with the same weights and states of their own; each step goes to the one whose signature it fits."""
KNOWN = [0] * STATES + [machine for machine in range(MACHINES) for _ in range(STATES)]
"""The neuron that takes each symbol: that of its machine; states are never read."""


class Machines(Row):
    """S3 machines interleaved: at most two active in training, four at test."""

    name = "machines"
    question = "S3 machines interleaved in one stream, at most two active in training: are four right, at T 32 and 128?"
    bar = "graph ≥ 0.95 (learned routing) with four active at T 128, every monolith < 0.5"
    best: ClassVar[Mapping[str, Any]] = LEARNED
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"known addresses": {**LEARNED, "gate.table": KNOWN}}

    def tracks(self, scale: Scale) -> list[Track]:
        few = {"examples": scale.of(10, 300, 1000)}
        tests = {
            "two, T 32": Test(few),
            "four, T 32": Test({**few, **FOUR}),
            "four, T 128": Test({**few, **FOUR, "length": 128}),
        }
        options = {"machines": MACHINES, "active": 2, "length": 32}
        graph = {"neurons": 6, "width": 12, "rounds": 2}
        return [Track("machines", "task:machines", scale.of(2, 2500), scale.of(8, 64), options, tests, graph)]

    def judge(self, result: dict[str, Any]) -> Answer:
        ours, rival = self.ours(result), self.rival(result, MONOLITHS)
        a, b = self.values(result, ours), self.values(result, rival) if rival else []
        met = bool(a and b) and statistics.mean(a) >= 0.95 and statistics.mean(b) < 0.5
        parts = {label: self.values(result, label) for label in self.variants}
        others = "".join(f"; {label} {shown(values)}" for label, values in parts.items() if values)
        scores = f"{ours} {shown(a)}, best monolith ({rival}) {shown(b)}; chance 0.167"
        return Answer("yes" if met else "no", scores + others)
