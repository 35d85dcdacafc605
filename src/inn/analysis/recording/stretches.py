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
from torch import Tensor

from inn.inference.evaluate import nats_of, predictions
from inn.models.inn import INN
from inn.nn.modes import as_tokens
from inn.nn.recall import Parts
from inn.nn.state import State
from inn.system.errors import InputError

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
    warmup, rows = min(warmup, max(16, length)), count // length
    starts = [warmup + i * (usable - length) // max(1, rows - 1) for i in range(rows)]
    before = max(warmup, min(READ, n // 4))
    cut = np.zeros((rows, before + length + 1), dtype=np.int64)
    known = torch.zeros(rows, before, dtype=torch.bool)
    for k, start in enumerate(starts):
        there = min(before, start)
        cut[k, before - there :] = symbols[start - there : start + length + 1]
        known[k, before - there :] = True
    return Stretches(as_tokens(cut, torch.device(device)), known.to(device), warmup, torch.tensor(starts))


@torch.no_grad()
def recalled(model: INN, part: Stretches) -> Parts:
    """The tables of what can be recalled from before the warm-up; none for a model that recalls nothing."""
    if model.recall is None:
        return {}
    tables, until = model.recall.initial_state(len(part.tokens)), part.before - part.warmup
    for at in range(0, until, LENGTH):
        piece = slice(at, min(at + LENGTH, until))
        model.recall.read_(part.tokens[:, piece], tables, None, part.known[:, piece])
    return tables


@torch.no_grad()
def entering(model: INN, part: Stretches, tables: Parts) -> Tensor:
    """What the graph takes in on the warm-up and the stretches, `[K, warmup + T, N, D]`: symbols, and what is recalled.

    No lesion of the graph changes it: it is the same for all of them. `tables` is what `recalled` gives.
    """
    read = part.tokens[:, part.before - part.warmup : -1]
    x = model.embed(read)
    if model.recall is None:
        return x
    return x + model.recall.read_(read, {name: t.clone() for name, t in tables.items()})


@torch.no_grad()
def warmed(model: INN, part: Stretches, x: Tensor) -> tuple[Tensor, State]:
    """What the graph takes in on the stretches themselves, and its state before them: `x` is what `entering` gives."""
    state = model.graph.initial_state(len(x))
    if part.warmup:
        state = model.graph.run(x[:, : part.warmup], state)[1]
    return x[:, part.warmup :], state


def window(model: INN, rows: int) -> int:
    """Symbols that one pass of `rows` stretches may read so that what it makes fits into memory."""
    c, router = model.config, model.graph.round(0).router
    heads = 1 if router is None else router.heads
    largest = max(c.vocab, heads * c.neurons**2, c.neurons * c.width * 16)
    return max(16, _NUMBERS // (rows * largest))


@torch.no_grad()
def bits_of(model: INN, part: Stretches, x: Tensor) -> Tensor:
    """Bits of every target of these stretches, `[K, T]` float32; `x` is what `entering` gives."""
    x, state = warmed(model, part, x)
    size = window(model, len(x))

    def predict(x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = model.graph.run(x, state)
        return model.logits(y), state

    read = zip(predictions(predict, x.split(size, 1), state), part.targets.split(size, 1), strict=True)
    return torch.cat([nats_of(logits, targets).cpu() / math.log(2) for (logits, _), targets in read], 1)
