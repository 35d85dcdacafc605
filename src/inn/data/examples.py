"""Examples: sequences of unequal lengths with their targets, and batches of them from a position that can be stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inn.system.errors import InputError

IGNORED = -100
"""The target of a step that does not count; of targets that are numbers it is NaN."""


@dataclass(frozen=True)
class Examples:
    """Sequences laid one after another.

    Attributes:
        inputs: `[S]` whole numbers, or `[S, F]` float32 in which NaN is a missing value.
        targets: `[S]` int64, -100 where none counts; or `[S, O]` float32, NaN where none counts.
        starts: `[n + 1]` int64: sequence i is `starts[i]:starts[i + 1]`.
        weights: `[n]` float32, what each sequence counts in training; None: all the same.
    """

    inputs: np.ndarray
    targets: np.ndarray
    starts: np.ndarray
    weights: np.ndarray | None = None

    @classmethod
    def equal(cls, inputs: np.ndarray, targets: np.ndarray) -> Examples:
        """Sequences of one length: inputs `[n, T]` or `[n, T, F]`, targets `[n, T]` or `[n, T, O]`.

        >>> Examples.equal(np.zeros((2, 3), np.int64), np.zeros((2, 3), np.int64)).starts.tolist()
        [0, 3, 6]
        """
        count, steps = inputs.shape[:2]
        starts = np.arange(count + 1, dtype=np.int64) * steps
        return cls(inputs.reshape(-1, *inputs.shape[2:]), targets.reshape(-1, *targets.shape[2:]), starts)

    @classmethod
    def cut(cls, inputs: np.ndarray, targets: np.ndarray, lengths: np.ndarray) -> Examples:
        """Sequences of their own lengths `[n]`, out of arrays `[n, T, ...]` of which the rest of each row is left out.

        >>> Examples.cut(np.eye(2, 3), np.eye(2, 3), np.array([1, 2])).inputs.tolist()
        [1.0, 0.0, 1.0]
        """
        kept = np.arange(inputs.shape[1]) < lengths[:, None]
        return cls(inputs[kept], targets[kept], np.cumsum([0, *lengths], dtype=np.int64))

    @classmethod
    def of(cls, inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> Examples:
        """Sequences of their own lengths: inputs `[T]` or `[T, F]` each, targets `[T]` or `[T, O]` each."""
        starts = np.cumsum([0, *map(len, inputs)], dtype=np.int64)
        return cls(np.concatenate(list(inputs)), np.concatenate(list(targets)), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence, `[n]`."""
        return np.diff(self.starts)

    @property
    def counted(self) -> int:
        """Targets that count."""
        missing = np.isnan(self.targets) if self.targets.dtype.kind == "f" else self.targets == IGNORED
        return int(self.targets.size - missing.sum())

    def take(self, chosen: np.ndarray) -> Examples:
        """The sequences of these numbers, in this order."""
        pieces = [slice(self.starts[i], self.starts[i + 1]) for i in chosen.tolist()]
        weights = None if self.weights is None else self.weights[chosen]
        starts = np.cumsum([0, *self.lengths[chosen]], dtype=np.int64)
        inputs, targets = (np.concatenate([a[p] for p in pieces]) for a in (self.inputs, self.targets))
        return Examples(inputs, targets, starts, weights)

    def first(self, steps: int) -> Examples:
        """The first steps, so many; the sequence that they end in is cut there."""
        starts = np.append(self.starts[self.starts < steps], min(steps, len(self.inputs)))
        weights = None if self.weights is None else self.weights[: len(starts) - 1]
        return Examples(self.inputs[:steps], self.targets[:steps], starts, weights)

    def padded(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """All sequences side by side: inputs `[n, T, ...]`, targets `[n, T, ...]`, and the mask `[n, T]` of the steps
        that are there; None where all are.

        What is filled up at the ends is 0 in the inputs and does not count in the targets.
        """
        lengths, longest = self.lengths, int(self.lengths.max())
        if (lengths == longest).all():
            inputs, targets = (a.reshape(len(self), longest, *a.shape[1:]) for a in (self.inputs, self.targets))
            return inputs, targets, None
        mask = np.arange(longest) < lengths[:, None]
        inputs = np.zeros((len(self), longest, *self.inputs.shape[1:]), self.inputs.dtype)
        nothing = np.nan if self.targets.dtype.kind == "f" else IGNORED
        targets = np.full((len(self), longest, *self.targets.shape[1:]), nothing, self.targets.dtype)
        inputs[mask], targets[mask] = self.inputs, self.targets
        return inputs, targets, mask

    def batches(self, size: int) -> Iterator[Examples]:
        """The sequences in their order, so many at a time."""
        for at in range(0, len(self), size):
            yield self.take(np.arange(at, min(at + size, len(self))))

    def check(self) -> Examples:
        """Raise `InputError` for what no model can learn from: no sequence, an empty one, nothing that counts."""
        if not len(self):
            raise InputError("there are no sequences; give at least one")
        if not (self.lengths > 0).all():
            raise InputError(f"sequence {int(np.argmin(self.lengths))} is empty; leave it out")
        if not self.counted:
            raise InputError("no target counts; give each sequence at least one")
        return self


def last_step(label: int, steps: int) -> np.ndarray:
    """Targets `[T]` of a sequence whose label counts at its last step.

    >>> last_step(2, 3).tolist()
    [-100, -100, 2]
    """
    targets = np.full(steps, IGNORED, np.int64)
    targets[-1] = label
    return targets


def position_of(state: dict[str, Any], name: str) -> int:
    """A stored number; raises `InputError` where it is none."""
    if not isinstance(state.get(name), int):
        raise InputError(f"the stored position in the data has no '{name}'; resume with the data of the run")
    return state[name]
