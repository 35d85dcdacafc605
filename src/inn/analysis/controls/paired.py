"""Is one loss lower than another? Paired over seeds and blocks of text, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class PairedDifference:
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


def paired_difference(
    ours: Sequence[Sequence[float]] | np.ndarray, theirs: Sequence[Sequence[float]] | np.ndarray
) -> PairedDifference:
    """How far `ours` is ahead of `theirs`, both bits `[seeds][blocks]` with the same seeds and blocks.

    The interval is of the paired difference, by a bootstrap that draws seeds and, independently, blocks with
    replacement (Davison & Hinkley 1997, section 3.8): it covers what another seed and another text would change.

    >>> print(paired_difference([[1.0, 2.0]] * 2, [[1.5, 2.5]] * 2))
    +0.500 [+0.500, +0.500]
    """
    difference = np.asarray(theirs) - np.asarray(ours)
    seeds, blocks = difference.shape
    seed_weights, block_weights = _weights(seeds, blocks)
    means = np.einsum("rs,sb,rb->r", seed_weights, difference, block_weights, optimize=True)
    low, high = np.quantile(means, [0.025, 0.975])
    return PairedDifference(float(difference.mean()), float(low), float(high), seeds, blocks)


@lru_cache(maxsize=4)
def _weights(seeds: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed and each block was drawn, as shares: `[resamples, seeds]` and `[resamples, blocks]`."""
    rng = np.random.default_rng(0)
    some = rng.integers(seeds, size=(RESAMPLES, seeds))
    parts = rng.integers(blocks, size=(RESAMPLES, blocks))
    return (
        np.stack([(some == s).mean(1) for s in range(seeds)], 1),
        np.stack([(parts == b).mean(1) for b in range(blocks)], 1),
    )
