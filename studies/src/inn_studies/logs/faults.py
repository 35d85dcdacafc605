"""Faults of seven kinds, put into the second half of a log, and which lines they make wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from inn_studies.logs.samples import shape

KINDS = {
    "foreign": "a line of elsewhere in the log, with the time stamp of its new place",
    "range": "a number with three more digits",
    "swap": "two neighbouring fields that changed places",
    "token": "a word in the place of another",
    "truncated": "a line whose end is missing",
    "burst": "a line that comes three times more",
    "missing": "the line after one that is missing from a fixed sequence",
}
COPIES = 3
"""Of the line of a burst."""
STAMP = 3
"""Fields at the start of a line that faults of fields leave alone: what says when."""
_FIXED, _OFTEN = 0.9, 5
"""Two shapes are a fixed sequence if so large a share of the first are followed by the second, so often at least."""


def injected(lines: Sequence[bytes], each: int, seed: int) -> tuple[list[bytes], list[str]]:
    """The lines of a log with faults in its second half, and of each line which kind of fault it is, or nothing.

    Args:
        each: faults of each kind; fewer where the log has no more places for one, and a third of them of bursts.
        seed: of places and contents.

    >>> log = [b"%d a b c d%d e f\\n" % (i, i % 3) for i in range(100)]
    >>> faulty, kinds = injected(log, 1, 0)
    >>> faulty[:50] == log[:50], sum(kind == "burst" for kind in kinds)
    (True, 3)
    """
    rng, half = np.random.default_rng([seed, 7]), len(lines) // 2
    fixed = _fixed_pairs(lines[:half])
    free = set(range(half + 1, len(lines) - 2))
    changed: _Changed = {}
    for kind in KINDS:
        wanted = max(1, each // COPIES) if kind == "burst" else each
        for at in rng.permutation(sorted(free)).tolist():
            if wanted == 0:
                break
            if at not in free:
                continue
            found = _fault(kind, lines, at, fixed, rng)
            if found is not None:
                changed |= found
                free -= {at - 1, at, at + 1, at + 2}  # apart from each other
                wanted -= 1
    told, kinds = [], []
    for at, line in enumerate(lines):
        some, of = changed.get(at, ([line], [""]))
        told += some
        kinds += of
    return told, kinds


_Changed = dict[int, tuple[list[bytes], list[str]]]


def _fault(
    kind: str, lines: Sequence[bytes], at: int, fixed: set[tuple[bytes, bytes]], rng: np.random.Generator
) -> _Changed | None:
    """What stands in the place of line `at`, and of the next one: lines and their kinds; None where it cannot be."""
    line = lines[at]
    if kind == "foreign":
        near = {shape(one) for one in lines[at - 5 : at + 6]}
        other = lines[int(rng.integers(len(lines)))]
        return None if shape(other) in near else {at: ([stamped(other, line), line], [kind, ""])}
    if kind == "burst":
        return {at: ([line] * (1 + COPIES), ["", *[kind] * COPIES])}
    if kind == "missing":
        if (shape(lines[at - 1]), shape(line)) not in fixed:
            return None
        return {at: ([], []), at + 1: ([lines[at + 1]], [kind])}
    changed = _CHANGES[kind](line, lines[int(rng.integers(len(lines) // 2))], rng)
    return None if changed is None or changed == line else {at: ([changed], [kind])}


def _fixed_pairs(lines: Sequence[bytes]) -> set[tuple[bytes, bytes]]:
    """Pairs of shapes of which the second nearly always follows the first."""
    shapes = [shape(line) for line in lines]
    first, pairs = Counter(shapes[:-1]), Counter(pairwise(shapes))
    return {pair for pair, times in pairs.items() if times >= _OFTEN and times >= _FIXED * first[pair[0]]}


def stamped(line: bytes, here: bytes) -> bytes:
    """A line with the numbers that another one begins with, as far as both begin alike.

    >>> stamped(b"Jul 1 12:00 cron bye", b"Aug 2 13:59 sshd hello")
    b'Jul 2 13:59 cron bye'
    """
    fields, there = line.split(b" "), here.split(b" ")
    for i, (own, other) in enumerate(zip(fields, there)):
        if re.sub(rb"\w", b"0", own) != re.sub(rb"\w", b"0", other) or not (own == other or re.search(rb"\d", own)):
            if i == 0 and own.isalpha() and other.isalpha():  # the name of a month or a day
                continue
            break
        fields[i] = other
    return b" ".join(fields)


def _range(line: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    begin = _after_stamp(line)
    places = [found.span() for found in re.finditer(rb"\d+", line) if found.start() >= begin]
    if not places:
        return None
    _, stop = places[int(rng.integers(len(places)))]
    return line[:stop] + b"%03d" % int(rng.integers(1000)) + line[stop:]


def _swap(line: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    body, end = _body(line)
    fields = body.split(b" ")
    places = [i for i in range(STAMP, len(fields) - 1) if fields[i] and fields[i + 1] and fields[i] != fields[i + 1]]
    if not places:
        return None
    at = int(rng.choice(places))
    fields[at : at + 2] = fields[at + 1], fields[at]
    return b" ".join(fields) + end


def _token(line: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    words = re.compile(rb"[A-Za-z]{3,}")
    begin = _after_stamp(line)
    places = [found.span() for found in words.finditer(line) if found.start() >= begin]
    theirs = [word for word in words.findall(other[_after_stamp(other) :]) if word not in line]
    if not places or not theirs:
        return None
    start, stop = places[int(rng.integers(len(places)))]
    return line[:start] + theirs[int(rng.integers(len(theirs)))] + line[stop:]


def _truncated(line: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    body, end = _body(line)
    if len(body) < 20:
        return None
    return body[: int(len(body) * rng.uniform(0.3, 0.8))] + end


def _body(line: bytes) -> tuple[bytes, bytes]:
    body = line.rstrip(b"\r\n")
    return body, line[len(body) :]


def _after_stamp(line: bytes) -> int:
    """Where the fields begin that faults may change."""
    return sum(len(field) + 1 for field in line.split(b" ")[:STAMP])


_CHANGES: dict[str, Callable[[bytes, bytes, np.random.Generator], bytes | None]] = {
    "range": _range,
    "swap": _swap,
    "token": _token,
    "truncated": _truncated,
}
