"""Sessions: the log of a service that works on several sessions at once; which event is out of order?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from inn.config.checks import check_at_least, check_fraction
from inn.data.examples import Examples
from inn.data.tasks.base import Metric, Task, TaskOptions
from inn.data.tasks.machines import check_active, interleaved
from inn.system.errors import InputError

WORKFLOWS = [
    "open-write allocate-block receive-block packet-responder add-stored-block verify-block close",
    "open-read locate-block connect serve-block verify-block close",
    "open-replica allocate-block connect receive-block verify-block add-stored-block close",
    "open-move locate-block connect receive-block delete-block add-stored-block verify-block close",
    "open-delete locate-block delete-block remove-stored-block close",
    "open-check locate-block verify-block serve-block close",
    "open-repair locate-block verify-block delete-block allocate-block connect receive-block close",
    "open-append locate-block receive-block packet-responder verify-block add-stored-block close",
]
"""What happens to a block, as lines of log templates. The first event tells which it is; the others are shared."""


@dataclass
class SessionsOptions(TaskOptions):
    """At every line of a log of interleaved sessions: is this event out of order in its session?"""

    sessions: int = 8
    """Session ids that exist."""
    active: int = 2
    """Ids that take part in a sequence, at most: how many is drawn for each, and which."""
    least: int = 1
    """Ids that take part in a sequence, at least."""
    workflows: int = 4
    """Workflow templates that sessions follow, of the eight that there are."""
    rate: float = 0.1
    """Probability that another event of the workflow comes in place of the one that is due."""
    length: int = 64
    """Lines of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "sessions", "active", "least", "workflows", "length")
        check_active(self.active, self.least, self.sessions, "sessions")
        check_fraction(self, "rate")
        if self.rate == 0:
            raise InputError("with rate 0.0 no event is out of order; take a rate such as 0.1")
        if self.workflows > len(WORKFLOWS):
            raise InputError(f"workflows {self.workflows} are more than the {len(WORKFLOWS)} there are; lower it")


class Sessions(Task):
    """A session's first event tells which workflow it follows. Where another event of the workflow comes in place of
    the one that is due, it is out of order, and what was due is still due; after the last event the id begins anew.

    Symbols: the labels `in-order`, `out-of-order`, then for each id its events, `blk_0:close`, ...
    """

    Options = SessionsOptions
    metric: ClassVar[Metric] = "auroc"

    @property
    def names(self) -> list[str]:
        ids, (events, _, _) = range(self.options.sessions), templates(self.options.workflows)
        return ["in-order", "out-of-order", *(f"blk_{i}:{event}" for i in ids for event in events)]

    @property
    def actors(self) -> list[str | None]:
        ids, (events, _, _) = range(self.options.sessions), templates(self.options.workflows)
        return [None, None, *(f"blk_{i}" for i in ids for _ in events)]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o, (events, due, steps) = self.options, templates(self.options.workflows)
        session = interleaved(rng, count, o.length, o.sessions, o.least, o.active)
        begun, wrong = rng.integers(0, o.workflows, session.shape), rng.random(session.shape) < o.rate
        other = rng.random(session.shape)
        event, targets, rows = np.empty_like(session), np.empty_like(session), np.arange(count)
        workflow, at = np.zeros((2, count, o.sessions), np.int64)  # of each id, and how far it has come
        for t in range(o.length):
            here, place = (rows, session[:, t]), at[rows, session[:, t]]
            of = np.where(place == 0, begun[:, t], workflow[here])
            bad = wrong[:, t] & (place > 0)
            shift = 1 + (other[:, t] * (steps[of] - 1)).astype(np.int64)  # to any event but the one that is due
            event[:, t] = due[of, np.where(bad, place + shift, place) % steps[of]]
            targets[:, t], workflow[here] = bad, of
            at[here] = np.where(bad, place, (place + 1) % steps[of])
        return Examples.equal(2 + len(events) * session + event, targets)


def templates(count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The first workflows: the names of their events, their events by number `[count, longest]`, their lengths."""
    lists = [line.split() for line in WORKFLOWS[:count]]
    events = list(dict.fromkeys(name for one in lists for name in one))
    steps = np.array([len(one) for one in lists])
    due = np.zeros((count, steps.max()), np.int64)
    for row, one in zip(due, lists, strict=True):
        row[: len(one)] = [events.index(name) for name in one]
    return events, due, steps
