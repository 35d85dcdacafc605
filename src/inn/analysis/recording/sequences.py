"""Sequences of a task, read as stretches are: whole ones one after another in rows, each from a fresh state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from inn.analysis.recording.stretches import LEAST, LENGTH, SHORTEST, SYMBOLS, Reading
from inn.data.examples import IGNORED, Examples
from inn.system.errors import InputError


@dataclass(frozen=True)
class Sequences(Reading):
    """K rows of T steps, of several sequences each; the last of a row may be cut at its end.

    Attributes:
        given: `[K, warmup + T]` symbols, or `[K, warmup + T, F]`.
        told: `[K, warmup + T]` int64, or `[K, warmup + T, O]`: what is to be told at each step.
        begins: `[K, warmup + T]` bool, where a sequence begins.
        places: `[K, warmup + T]` where in the part each step stands.
        warmup: steps at the beginning that are read and not looked at.
    """

    given: Tensor
    told: Tensor
    begins: Tensor
    places: Tensor
    warmup: int = 0
    before = 0

    @property
    def tokens(self) -> Tensor:
        return self.given

    @property
    def read(self) -> Tensor:
        return self.given

    @property
    def resets(self) -> Tensor:
        return self.begins

    @property
    def inputs(self) -> Tensor:
        return self.given[:, self.warmup :]

    @property
    def targets(self) -> Tensor:
        return self.told[:, self.warmup :]

    @property
    def size(self) -> int:
        return self.inputs.shape[0] * self.inputs.shape[1]

    def rows(self, rows: Tensor | slice) -> Sequences:
        at = rows.to(self.given.device) if isinstance(rows, Tensor) else rows
        return Sequences(self.given[at], self.told[at], self.begins[at], self.places[at], self.warmup)

    def streams(self, count: int) -> Sequences | None:
        """The first sequence of rows, cut to one length, the first quarter as warm-up; None where that is too little.

        The rows are those whose first sequence is longest.
        """
        lengths = []
        for row in self.begins.cpu():
            later = row[1:].nonzero()
            lengths.append(int(later[0]) + 1 if len(later) else len(row))
        chosen = sorted(range(len(lengths)), key=lambda k: -lengths[k])[:count]
        shortest = min(lengths[k] for k in chosen)
        if len(chosen) < 2 or shortest < 4:
            return None
        some = self.rows(torch.tensor(sorted(chosen)))
        given, told, begins, places = (t[:, :shortest] for t in (some.given, some.told, some.begins, some.places))
        return Sequences(given, told, begins, places, shortest // 4)

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """Row, begin and end of each sequence."""
        for k, row in enumerate(self.begins.cpu()):
            edges = [*row.nonzero().flatten().tolist(), len(row)]
            for a, b in pairwise(edges):
                yield k, a, b

    def coming(self) -> np.ndarray:
        """At each step the next target of its sequence that counts, `[K, T]`; -100 where none comes."""
        found = self.targets.cpu().numpy().copy()
        ends = np.append(self.begins.cpu().numpy()[:, 1:], np.ones((len(found), 1), bool), 1)
        for t in range(found.shape[1] - 2, -1, -1):
            waits = (found[:, t] == IGNORED) & ~ends[:, t]
            found[waits, t] = found[waits, t + 1]
        return found


def sequences(examples: Examples, count: int = SYMBOLS, *, device: torch.device | str = "cpu") -> Sequences:
    """About `count` steps of a part's sequences, spread evenly over it, in rows of whole ones; all of a smaller part.

    Raises `InputError` for a part of fewer than 256 steps, or of a single sequence.

    >>> found = sequences(Examples.equal(np.zeros((90, 4), np.int64), np.zeros((90, 4), np.int64)), 256)
    >>> found.inputs.shape, int(found.begins.sum())
    (torch.Size([16, 16]), 64)
    """
    steps, longest = len(examples.inputs), int(examples.lengths.max())
    if steps < SHORTEST or len(examples) < 2:
        raise InputError(
            f"{len(examples)} sequences of {steps} steps are too few to look into; it takes two, and {SHORTEST} steps"
        )
    length = max(longest, min(LENGTH, min(count, steps) // LEAST))
    if (examples.lengths == longest).all():
        length -= length % longest
    wanted = max(2, count // length)
    rough = min(len(examples), -(-wanted * length * len(examples) // steps) + wanted)
    rows: list[np.ndarray] = []
    row: list[np.ndarray] = []
    for i in np.linspace(0, len(examples) - 1, rough).round().astype(int).tolist():
        row.append(np.arange(int(examples.starts[i]), int(examples.starts[i + 1])))
        if sum(map(len, row)) >= length:
            rows.append(np.concatenate(row)[:length])
            row = []
        if len(rows) == wanted:
            break
    places = np.stack(rows or [np.concatenate(row)])
    begins = np.isin(places, examples.starts[:-1])
    arrays = (examples.inputs[places], examples.targets[places], begins, places)
    given, told, begun, where = (torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays)
    return Sequences(given, told, begun, where)
