"""Stretches of a text, spread evenly over it: the same symbols for everything that is measured, and for every lesion.

Each is read from a fresh state. What a model recalls it has read up to `READ` symbols before, of which the graph reads
the last `WARMUP` as well; neither is counted. Stretches lie apart, so that they serve as blocks of a bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inn.errors import InputError
from inn.evaluation import as_tokens
from inn.model import INN, RECALL
from inn.state import State

SYMBOLS = 16384
"""Symbols looked at, by default."""
LENGTH = 512
"""Symbols of a stretch; fewer where the text is short."""
LEAST = 16
"""Stretches that a text must be good for."""
SHORTEST = 256
"""Symbols of the shortest text that can be looked at."""
WARMUP, READ = 128, 4096
_TOGETHER = 8
"""Stretches that are read side by side."""
_NUMBERS = 2**24
"""Numbers that a forward pass may make at once of the largest kind: logits, or routing weights."""


@dataclass(frozen=True)
class Stretches:
    """K stretches of T symbols, each with the symbols before it and the one after its last.

    Attributes:
        tokens: `[K, before + T + 1]` symbols; stretch k itself is `tokens[k, before:-1]`.
        known: `[K, before]` bool, which of the symbols before are there (a text has a beginning).
        warmup: how many of the symbols before the graph reads.
        starts: `[K]` where in the text each stretch begins.
    """

    tokens: Tensor
    known: Tensor
    warmup: int
    starts: Tensor

    @property
    def before(self) -> int:
        return self.known.shape[1]

    @property
    def inputs(self) -> Tensor:
        """The symbols read, `[K, T]`."""
        return self.tokens[:, self.before : -1]

    @property
    def targets(self) -> Tensor:
        """The symbols predicted, `[K, T]`."""
        return self.tokens[:, self.before + 1 :]

    def some(self, count: int) -> Stretches:
        """At most `count` of the stretches, spread evenly over them."""
        rows = torch.linspace(0, len(self.tokens) - 1, min(count, len(self.tokens))).round().long()
        return self.rows(rows)

    def rows(self, rows: Tensor | slice) -> Stretches:
        """These stretches."""
        return Stretches(self.tokens[rows], self.known[rows], self.warmup, self.starts[rows])

    def groups(self) -> Iterator[Stretches]:
        """The stretches, a few at a time, in order."""
        for at in range(0, len(self.tokens), _TOGETHER):
            yield self.rows(slice(at, at + _TOGETHER))


def stretches(symbols: np.ndarray, count: int = SYMBOLS, *, device: torch.device | str = "cpu") -> Stretches:
    """Cut about `count` symbols out of a text `[n]`, in stretches spread evenly over it; all of a shorter text.

    Raises `InputError` for a text of fewer than 256 symbols.

    >>> found = stretches(np.arange(2000) % 7, 1000)
    >>> found.inputs.shape, bool((found.targets[:, :-1] == found.inputs[:, 1:]).all())
    (torch.Size([16, 62]), True)
    """
    n = len(symbols)
    if n < SHORTEST:
        raise InputError(f"a text of {n} symbols is too short to look into; it takes at least {SHORTEST}")
    if count < SHORTEST:
        raise InputError(f"{count} symbols are too few to look at; take at least {SHORTEST}")
    warmup = min(WARMUP, n // 16)
    usable = n - 1 - warmup
    count = min(count, usable)
    length = min(LENGTH, count // LEAST)
    rows = count // length
    starts = [warmup + i * (usable - length) // max(1, rows - 1) for i in range(rows)]
    before = max(warmup, min(READ, n // 4))
    cut = np.zeros((rows, before + length + 1), dtype=np.int64)
    known = torch.zeros(rows, before, dtype=torch.bool)
    for k, start in enumerate(starts):
        there = min(before, start)
        cut[k, before - there :] = symbols[start - there : start + length + 1]
        known[k, before - there :] = True
    return Stretches(as_tokens(cut, torch.device(device)), known.to(device), warmup, torch.tensor(starts))


def recalled(model: INN, part: Stretches) -> State:
    """The state before the warm-up of these stretches: fresh, but for what can be recalled from before it."""
    state = model.initial_state(len(part.tokens))
    read = part.before - part.warmup
    if model.recall is None or not read:
        return state
    tables = {name: t for (r, name), t in state.items() if r == RECALL}
    with torch.no_grad():
        for at in range(0, read, LENGTH):
            piece = slice(at, min(at + LENGTH, read))
            _, tables = model.recall(part.tokens[:, piece], tables, None, part.known[:, piece])
    return State({**state, **{(RECALL, name): t for name, t in tables.items()}})


def window(model: INN, rows: int) -> int:
    """Symbols that one forward pass of `rows` stretches may read so that what it makes fits into memory."""
    c = model.config
    largest = max(c.vocab, c.heads * c.neurons**2, c.neurons * c.width * 16)
    return max(16, _NUMBERS // (rows * largest))


@torch.no_grad()
def warmed(model: INN, part: Stretches, state: State) -> State:
    """The state before the first symbol of these stretches: `state`, and the warm-up read."""
    at = part.before - part.warmup
    return model(part.tokens[:, at : part.before], state)[1] if part.warmup else state


@torch.no_grad()
def bits_of(model: INN, part: Stretches, state: State) -> Tensor:
    """Bits of every target of these stretches, `[K, T]` float32; `state` is what `recalled` gives."""
    state, found = warmed(model, part, state), []
    size = window(model, len(part.tokens))
    for at in range(0, part.inputs.shape[1], size):
        logits, state = model(part.inputs[:, at : at + size], state)
        targets = part.targets[:, at : at + size]
        losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        found.append(losses.view(targets.shape).cpu() / math.log(2))
    return torch.cat(found, 1)
