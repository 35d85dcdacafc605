"""`balls`: one or two bouncing balls in training, four at test."""

from __future__ import annotations

from typing import Any

from inn_studies.where.harness import Test, Track
from inn_studies.where.row import WIDE, Answer, Row, Scale

BOX = {"balls": 2, "fewest": 1, "slots": 4}
"""Channels for four balls; those that are not there are missing."""


class Balls(Row):
    """Where the balls are at the next step."""

    name = "balls"
    question = "One or two bouncing balls in training: how far off is the next step of four?"
    bar = "ahead of one wide neuron outside the interval"
    score = "root of the mean squared error"
    share, higher = False, False
    baseline = "last value"

    def tracks(self, scale: Scale) -> list[Track]:
        few = {"examples": scale.of(10, 300, 1000)}
        tests = {"as trained": Test(few), "four balls": Test({**few, "balls": 4, "fewest": 4})}
        return [Track("balls", "task:balls", scale.of(2, 2000), scale.of(8, 32), BOX, tests)]

    def judge(self, result: dict[str, Any]) -> Answer:
        return self.lead(result, (WIDE,))
