"""`sessions`: interleaved sessions of a log, more at a time than in training: which event is out of order."""

from __future__ import annotations

from typing import Any

from inn_studies.where.harness import Test, Track
from inn_studies.where.row import Answer, Row, Scale


class Sessions(Row):
    """Generated sessions and those of a real log, two at a time in training, four at test."""

    name = "sessions"
    question = "Sessions of a log interleaved, twice as many at a time as in training: which event is out of order?"
    bar = "ahead of every monolith outside the interval"
    score = "AUROC"
    share = False  # its error is not that of a share
    baseline = ""

    def tracks(self, scale: Scale) -> list[Track]:
        few = {"examples": scale.of(10, 300, 1000)}
        tests = {"as in training": Test(few), "twice as many": Test({**few, "active": 4})}
        steps, batch = scale.of(2, 1200), scale.of(8, 32)
        four = {"as in training": Test(few), "twice as many": Test({**few, "active": 4, "least": 4})}
        options = {"active": 2, "length": 64}
        tracks = [
            Track("OpenSSH's log", "task:log-sessions", steps, batch, options, tests),
            Track("generated", "task:sessions", steps, batch, options, four),
        ]
        return tracks[: scale.of(1, 2)]

    def judge(self, result: dict[str, Any]) -> Answer:
        return self.lead(result)
