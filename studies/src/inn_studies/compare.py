"""What a run scores block by block of a text, and by how much it has read before: what comparisons are paired over."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

BLOCKS = 32
"""Consecutive parts of a text that a comparison is paired over."""
AGES = (256, 1024, 4096, 16384, 65536)
"""Symbols read before, at the edges of `bits_by_age`."""


def block_bits(run: str, split: str) -> list[float]:
    """Bits per symbol of a run on each of 32 blocks of a part of its corpus (a measure for `Lab.measure`).

    The text is read as one strict stream, state carried, from its first symbol to its last.
    """
    from inn.inference.evaluate import evaluate
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    return [part.bits for part in evaluate(model, dataset.split(split), blocks=BLOCKS).parts]


def bits_by_age(run: str, split: str) -> dict[str, float]:
    """Bits per symbol by how much of its text a run has read, 32 stretches from fresh states (a measure).

    What a model makes of a short text, and what it gains from what it has read before.
    """
    from inn.inference.evaluate import row_nats
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    symbols = dataset.split(split)
    length = min((len(symbols) - 1) // BLOCKS, AGES[-1])
    rows = np.stack([symbols[i * length : (i + 1) * length + 1] for i in range(BLOCKS)])
    bits = row_nats(model, rows).mean(0) / math.log(2)
    edges = [age for age in AGES if age <= length]
    return {f"{a}-{b}": float(bits[a:b].mean()) for a, b in pairwise([0, *edges])}
