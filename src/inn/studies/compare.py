"""Is one model better than another? Paired over seeds and blocks of text, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

RESAMPLES = 10_000
BLOCKS = 32
"""Consecutive parts of a text that a comparison is paired over."""
AGES = (256, 1024, 4096, 16384, 65536)
"""Symbols read before, at the edges of `bits_by_age`."""


def block_bits(run: str, split: str) -> list[float]:
    """Bits per symbol of a run on each of 32 blocks of a part of its corpus (a measure for `Lab.measure`).

    The text is read as one strict stream, state carried, from its first symbol to its last.
    """
    from inn.commands.evaluate import load_with_data
    from inn.evaluation import evaluate

    model, dataset = load_with_data(run)
    return [part.bits for part in evaluate(model, dataset.split(split), blocks=BLOCKS).parts]


def bits_by_age(run: str, split: str) -> dict[str, float]:
    """Bits per symbol by how much of its text a run has read, 32 stretches from fresh states (a measure).

    What a model makes of a short text, and what it gains from what it has read before.
    """
    from inn.commands.evaluate import load_with_data
    from inn.evaluation import row_nats

    model, dataset = load_with_data(run)
    symbols = dataset.split(split)
    length = min((len(symbols) - 1) // BLOCKS, AGES[-1])
    rows = np.stack([symbols[i * length : (i + 1) * length + 1] for i in range(BLOCKS)])
    bits = row_nats(model, rows).mean(0) / math.log(2)
    edges = [age for age in AGES if age <= length]
    return {f"{a}-{b}": float(bits[a:b].mean()) for a, b in pairwise([0, *edges])}


@dataclass(frozen=True)
class Lead:
    """By how many bits per symbol one model is ahead of another."""

    bits: float
    low: float
    """The lower end of the 95 % interval."""
    high: float
    """Its upper end."""
    seeds: int
    blocks: int

    def __str__(self) -> str:
        return f"{self.bits:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def lead(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Lead:
    """How far `ours` is ahead of `theirs`, both bits `[seeds][blocks]` with the same seeds and blocks.

    The interval is of the paired difference, by a bootstrap that draws seeds and, independently, blocks with
    replacement (Davison & Hinkley 1997, section 3.8): it covers what another seed and another text would change.

    >>> print(lead([[1.0, 2.0]] * 2, [[1.5, 2.5]] * 2))
    +0.500 [+0.500, +0.500]
    """
    difference = np.asarray(theirs) - np.asarray(ours)
    seeds, blocks = difference.shape
    rng = np.random.default_rng(0)
    some = rng.integers(seeds, size=(RESAMPLES, seeds))
    parts = rng.integers(blocks, size=(RESAMPLES, blocks))
    # The mean over drawn seeds and blocks, through how often each was drawn.
    seed_weights = np.stack([(some == s).mean(1) for s in range(seeds)], 1)
    block_weights = np.stack([(parts == b).mean(1) for b in range(blocks)], 1)
    means = np.einsum("rs,sb,rb->r", seed_weights, difference, block_weights)
    low, high = np.quantile(means, [0.025, 0.975])
    return Lead(float(difference.mean()), float(low), float(high), seeds, blocks)
