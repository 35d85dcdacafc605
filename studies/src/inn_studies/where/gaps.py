"""`gaps`: copying and looking up, at four times the length of training."""

from __future__ import annotations

from typing import Any

from inn_studies.where.harness import Test, Track
from inn_studies.where.row import WIDE, Answer, Row, Scale


class Gaps(Row):
    """Copy after a gap, selective copy, key-value recall: trained at a length, tested at four times as much."""

    name = "gaps"
    question = "Copy after a gap, selective copy, key-value recall: right at four times the length?"
    bar = "ahead of one wide neuron outside the interval"

    def tracks(self, scale: Scale) -> list[Track]:
        steps, batch, few = scale.of(2, 1200), scale.of(8, 64), {"examples": scale.of(10, 300, 1000)}
        copy, recall = {"items": 6, "gap": 20}, {"pairs": 6, "length": 48}
        long = {"as trained": Test(few), "four times": Test({**few, "gap": 4 * 32 - 12})}
        longer = {"as trained": Test(few), "four times": Test({**few, "length": 4 * 48})}
        tracks = [
            Track("copy", "task:copy", steps, batch, copy, long),
            Track("selective copy", "task:copy", steps, batch, {**copy, "selective": True}, long),
            Track("recall", "task:recall", steps, batch, recall, longer),
        ]
        return tracks[: scale.of(1, 3)]

    def judge(self, result: dict[str, Any]) -> Answer:
        return self.lead(result, (WIDE,))
