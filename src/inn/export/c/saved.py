"""States of a model as `model_save` of `model.c` writes them."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from inn.export.c.printer import TYPES
from inn.export.program import Buffer, Program
from inn.nn.state import State

STATE_MAGIC = 0x534E4E49
"""`INNS`, as a whole number of 32 bits whose first byte is the lowest."""


def in_order(program: Program) -> list[Buffer]:
    """What is carried, in the order in which it lies: the largest types first, so that there is no room between."""
    return sorted(program.states, key=lambda buffer: -bytes_of(buffer))


def bytes_of(buffer: Buffer) -> int:
    """Bytes of one of its numbers."""
    return {"int64_t": 8, "double": 8, "uint8_t": 1}.get(TYPES[buffer.dtype], 4)


def saved(program: Program, fingerprint: int, state: State) -> bytes:
    """A state of one stream for `model_restore`: of its words of 32 bits those that are not as at the beginning.

    Three words of header; then, again and again, how many words are as at the beginning, how many follow, and these.
    """
    laid = {}
    for key, view in program.carried.items():
        first = view.buffer.data
        assert first is not None
        array = first.numpy().reshape(-1).copy()
        steps = tuple(step * array.itemsize for step in view.strides)
        as_strided(array, view.shape, steps)[...] = state[key].numpy()
        laid[view.buffer] = first.numpy().reshape(-1).view(np.uint32), array.view(np.uint32)
    begin, now = (np.concatenate([laid[b][i] for b in in_order(program)] or [np.zeros(0, np.uint32)]) for i in (0, 1))
    changed = np.flatnonzero(begin != now)
    starts = np.flatnonzero(np.diff(changed, prepend=-2) > 1)  # of runs, in `changed`
    sizes = np.diff(starts, append=len(changed))
    ends = changed[starts] + sizes
    gaps = changed[starts] - np.concatenate(([0], ends[:-1])) if len(starts) else starts
    words = np.zeros(len(changed) + 2 * len(starts) + 2, dtype="<u4")
    at = starts + 2 * np.arange(len(starts))
    words[at], words[at + 1] = gaps, sizes
    words[np.arange(len(changed)) + 2 * np.repeat(np.arange(1, len(starts) + 1), sizes)] = now[changed]
    words[-2] = len(now) - (ends[-1] if len(ends) else 0)
    return np.array([STATE_MAGIC, fingerprint, 1], dtype="<u4").tobytes() + words.tobytes()
