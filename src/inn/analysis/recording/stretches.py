"""Stretches of a text, spread evenly over it: the same symbols for everything that is measured, and for every lesion.

Each is read from a fresh state. What a model recalls it has read up to `READ` symbols before, of which the graph reads
the last `WARMUP` as well; neither is counted. Stretches lie apart, so that they serve as blocks of a bootstrap.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from inn.data.examples import IGNORED
from inn.models.inn import INN
from inn.models.signal_graph import SignalGraph
from inn.nn.modes import as_tokens, evaluating
from inn.nn.recall.base import Found, Parts
from inn.nn.roles import sensed
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


Neurons = INN | SignalGraph
"""Models whose neurons can be looked into."""


class Reading(ABC):
    """What is read and told in K rows of T steps, whatever it comes from: all that is measured reads it."""

    tokens: Tensor
    before: int
    warmup: int

    @property
    @abstractmethod
    def read(self) -> Tensor:
        """What the graph reads, the warm-up and the rows: `[K, warmup + T, ...]`."""

    @property
    @abstractmethod
    def resets(self) -> Tensor | None:
        """`[K, warmup + T]`, where it starts afresh; None: before the first step alone."""

    @property
    @abstractmethod
    def inputs(self) -> Tensor:
        """What is read of the rows, `[K, T, ...]`."""

    @property
    @abstractmethod
    def targets(self) -> Tensor:
        """What is to be told, `[K, T, ...]`."""

    @property
    def size(self) -> int:
        """Steps of all rows."""
        return self.inputs.numel()

    @abstractmethod
    def rows(self, rows: Tensor | slice) -> Reading:
        """These rows."""

    @abstractmethod
    def streams(self, count: int) -> Reading | None:
        """At most so many rows in which nothing starts afresh; None where there are none."""

    def some(self, count: int) -> Reading:
        """At most `count` of the rows, spread evenly over them."""
        rows = torch.linspace(0, len(self.tokens) - 1, min(count, len(self.tokens))).round().long()
        return self.rows(rows)

    def groups(self) -> Iterator[Reading]:
        """The rows, a few at a time, in order."""
        for at in range(0, len(self.tokens), _TOGETHER):
            yield self.rows(slice(at, at + _TOGETHER))


@dataclass(frozen=True)
class Stretches(Reading):
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

    @property
    def read(self) -> Tensor:
        return self.tokens[:, self.before - self.warmup : -1]

    @property
    def resets(self) -> None:
        return None

    def rows(self, rows: Tensor | slice) -> Stretches:
        return Stretches(self.tokens[rows], self.known[rows], self.warmup, self.starts[rows])

    def streams(self, count: int) -> Reading:
        return self.some(count)


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
def recalled(model: Neurons, part: Reading) -> Parts:
    """The tables of what can be recalled from before the warm-up; none for a model that recalls nothing."""
    if isinstance(model, SignalGraph) or model.recall is None:
        return {}
    tables, until = model.recall.initial_state(len(part.tokens)), part.before - part.warmup
    for at in range(0, until, LENGTH):
        piece = slice(at, min(at + LENGTH, until))
        model.recall.find_(part.tokens[:, piece], tables, None, part.known[:, piece])  # type: ignore[attr-defined]
    return tables


class Entering(NamedTuple):
    """What goes into a model on the warm-up and the stretches.

    Attributes:
        x: what the graph takes in, `[K, warmup + T, N, D]`: symbols, and what is recalled.
        found: what was looked up there; None for a model that recalls nothing.
    """

    x: Tensor
    found: Found | None


@torch.no_grad()
def entering(model: Neurons, part: Reading, tables: Parts) -> Entering:
    """What goes into a model on the warm-up and the stretches.

    No lesion of the graph changes it: it is the same for all of them. `tables` is what `recalled` gives.
    """
    x = model.embed(part.read)
    if isinstance(model, SignalGraph) or model.recall is None:
        return Entering(x, None)
    taken, found = model.recall.read_(part.read, {name: t.clone() for name, t in tables.items()}, part.resets)
    return Entering(x + sensed(taken, model.graph.sensors), found)


@torch.no_grad()
def warmed(model: Neurons, part: Reading, entered: Entering) -> tuple[Tensor, State]:
    """What the graph takes in on the stretches themselves, and its state before them."""
    x = entered.x
    state = model.graph.initial_state(len(x))
    if part.warmup:
        given = part.read[:, : part.warmup]
        state = model.graph.run(x[:, : part.warmup], state, present=present_of(model, given))[1]
    return x[:, part.warmup :], state


def window(model: Neurons, rows: int) -> int:
    """Symbols that one pass of `rows` stretches may read so that what it makes fits into memory."""
    c, router = model.config, model.graph.round(0).router
    heads = 1 if router is None else router.heads
    outputs = model.config.vocab if isinstance(model, INN) else model.config.outputs
    largest = max(outputs, heads * c.neurons**2, c.neurons * c.width * 16)
    return max(16, _NUMBERS // (rows * largest))


@torch.no_grad()
def bits_of(model: Neurons, part: Reading, entered: Entering) -> Tensor:
    """Bits of every target of these rows, `[K, T]` float32, NaN where none counts."""
    x, start = warmed(model, part, entered)
    found, own = [], {} if isinstance(model, INN) else model.own_state(len(x))
    for at, y, present in running(model, part, x, start):
        if isinstance(model, INN):
            here = slice(part.warmup + at.start, part.warmup + at.start + y.shape[1])
            looked = None if entered.found is None else {name: t[:, here] for name, t in entered.found.items()}
            told = model.predict(model.voted(model.norm(said_by(model, y, present)), looked))
        else:
            hidden = model.norm(said_by(model, y, present))
            reset = None if part.resets is None else part.resets[:, part.warmup :][:, at]
            hidden, last, own = model.so_far(part.inputs[:, at], hidden, own, reset, None)
            told = model.predict(hidden, last)
        targets = part.targets[:, at]
        nats, counts = model.losses(told, targets), counted(targets)
        if targets.ndim == 3:
            nats = nats / counts.clamp_min(1)  # of several numbers, the mean
        found.append(nats.float().masked_fill(counts == 0, torch.nan).cpu() / math.log(2))
    return torch.cat(found, 1)


def present_of(model: Neurons, given: Tensor) -> Tensor | None:
    """Which neurons have anything to read, of a signal or by known addresses; None where all are there."""
    return model.present(given) if isinstance(model, INN) or model.split else None


def said_by(model: Neurons, neurons: Tensor, present: Tensor | None) -> Tensor:
    """What is read out of neurons `[B, T, N, D]`, of which some may be absent."""
    return model.graph.readout(neurons) if present is None else model.graph.readout(neurons, present=present)


def running(model: Neurons, part: Reading, x: Tensor, state: State) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    """Run the graph over what `warmed` gives, window by window: where, what the neurons say, and which are there."""
    resets, size = part.resets, window(model, len(x))
    for at in range(0, x.shape[1], size):
        here = slice(at, at + size)
        reset = None if resets is None else resets[:, part.warmup :][:, here]
        with evaluating(model), torch.no_grad():
            chosen = model.graph.choose(x[:, here], present_of(model, part.inputs[:, here]))
            y, state = model.graph.run(x[:, here], state, reset=reset, chosen=chosen)
        yield here, y, chosen[0]


def counted(targets: Tensor) -> Tensor:
    """How many targets count at each step, `[K, T]`."""
    return (~targets.isnan()).sum(-1) if targets.ndim == 3 else (targets != IGNORED).long()
