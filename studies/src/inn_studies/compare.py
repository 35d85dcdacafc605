"""What a run scores block by block of a text, and by how much it has read before; rows of such scores compared."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from inn.analysis.controls.paired import paired_difference
from inn_studies.rows import markdown

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


def row_of(result: dict[str, Any], label: str) -> dict[str, Any]:
    """The row of a result that has this label."""
    return next(row for row in result["rows"] if row["label"] == label)


def mean_test(row: dict[str, Any]) -> float:
    """Bits per symbol of a row, the mean of its seeds."""
    return statistics.mean(statistics.mean(blocks) for blocks in row["test_blocks"])


def lead_over(ours: dict[str, Any], row: dict[str, Any]):
    """The lead over a row, over the seeds that both have."""
    seeds = min(len(ours["test_blocks"]), len(row["test_blocks"]))
    return paired_difference(ours["test_blocks"][:seeds], row["test_blocks"][:seeds])


def ages_table(given: Sequence[dict[str, Any]]) -> str:
    """What each model of these rows makes of a text by how much of it it has read, as Markdown."""
    rows = sorted(given, key=mean_test)
    spans = list(rows[0]["test_by_age"])
    cells = [[row["label"], *(f"{row['test_by_age'][span]:.3f}" for span in spans)] for row in rows]
    return markdown(["model", *(f"{span}:" for span in spans)], cells)
