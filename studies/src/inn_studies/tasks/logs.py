"""Sessions of a real log, interleaved: which event is out of its order."""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from inn.config.checks import check_at_least, check_fraction
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import Task, TaskOptions
from inn.system.errors import InputError
from inn_studies.tasks.files import data_file

_SESSION = re.compile(r"sshd\[(\d+)\]: (.*)")
_PARTS = {"train": (0.0, 0.7), "valid": (0.7, 0.85), "test": (0.85, 1.0)}
SEATS = 16
"""Names that interleaved sessions are told apart by."""


@dataclass
class LogSessionsOptions(TaskOptions):
    """Sessions of OpenSSH's log (loghub), interleaved: which event is out of its order?"""

    active: int = 4
    """Sessions that are under way at a time."""
    length: int = 64
    """Events of a sequence, from all its sessions."""
    swapped: float = 0.15
    """Share of the sessions in which two neighbouring events are swapped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "active", "length")
        check_fraction(self, "swapped")
        if self.active > SEATS:
            raise InputError(f"active must be at most {SEATS}, not {self.active}")


class LogSessions(Task):
    """Sessions of a real log, interleaved; a step names the session's seat and the template of its event.

    Each part has sessions of its own, by their order in the log. In some sessions two neighbouring events have changed
    places; the target of every event is whether it came too early. A session that ends makes room for another.
    """

    Options = LogSessionsOptions
    metric = "auroc"

    @cached_property
    def templates(self) -> list[str]:
        """The templates, most frequent first; the last one is every other."""
        return templates()[1]

    @property
    def names(self) -> list[str]:
        return ["in-order", "early", *(f"{seat}:{t}" for seat in range(SEATS) for t in range(len(self.templates)))]

    def part(self, name: str) -> Examples | None:
        return None if name == "train" else self._drawn(self.rng(name), self.options.examples, name)

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        return self._drawn(rng, count, "train")

    def _drawn(self, rng: np.random.Generator, count: int, part: str) -> Examples:
        sessions, known = templates()
        first, last = (round(len(sessions) * share) for share in _PARTS[part])
        rows = [self._sequence(rng, sessions[first:last], len(known)) for _ in range(count)]
        return Examples.equal(*(np.stack(parts) for parts in zip(*rows, strict=True)))

    def _sequence(
        self, rng: np.random.Generator, sessions: list[np.ndarray], known: int
    ) -> tuple[np.ndarray, np.ndarray]:
        seats = rng.permutation(SEATS)[: self.options.active]
        waiting: list[list[tuple[int, int]]] = [[] for _ in seats]
        inputs, targets = np.zeros(self.options.length, np.int64), np.full(self.options.length, IGNORED, np.int64)
        for step in range(self.options.length):
            at = int(rng.integers(len(seats)))
            if not waiting[at]:
                waiting[at] = _swapped(rng, sessions[rng.integers(len(sessions))], self.options.swapped)
            template, early = waiting[at].pop(0)
            inputs[step], targets[step] = 2 + seats[at] * known + template, early
        return inputs, targets


def _swapped(rng: np.random.Generator, session: np.ndarray, share: float) -> list[tuple[int, int]]:
    """A session's templates with, perhaps, two neighbours swapped; 1 marks the one that came too early."""
    events, early = session.copy(), np.zeros(len(session), np.int64)
    places = np.flatnonzero(events[:-1] != events[1:])
    if len(places) and rng.random() < share:
        at = int(rng.choice(places))
        events[[at, at + 1]] = events[[at + 1, at]]
        early[at] = 1
    return list(zip(events.tolist(), early.tolist(), strict=True))


@cache
def templates(most: int = 15) -> tuple[list[np.ndarray], list[str]]:
    """The sessions of the log as numbers of templates, in the order they begin, and the templates."""
    found: dict[str, list[str]] = {}
    log = lzma.decompress(data_file("logs/OpenSSH_2k.log.xz").read_bytes()).decode()
    for line in log.splitlines():
        if match := _SESSION.search(line):
            found.setdefault(match[1], []).append(_template(match[2]))
    every = [template for session in found.values() for template in session]
    common = sorted(set(every), key=lambda t: (-every.count(t), t))[:most]
    numbers = {template: i for i, template in enumerate(common)}
    sessions = [np.array([numbers.get(t, most) for t in session]) for session in found.values() if len(session) > 1]
    return sessions, [*common, "other"]


def _template(message: str) -> str:
    """A message without its values: addresses, numbers, and the names of users and hosts."""
    plain = re.sub(r"\S*\d\S*", "*", message)
    plain = re.sub(r"\b(user|for|invalid user|rhost=|user=|ruser=|host)\s*(?!request|unknown)[\w.-]+", r"\1 *", plain)
    return plain.strip()
