"""Bits per symbol in the measure that a text is reported in."""

from __future__ import annotations

import math


def in_metric(bits: float, metric: str) -> float:
    """Bits per symbol as `BPC`, `BPB` or `bits`, which they are, or as the perplexity `PPL`.

    >>> in_metric(2.0, "BPC"), in_metric(2.0, "PPL")
    (2.0, 4.0)
    """
    if metric != "PPL":
        return bits
    return 2.0**bits if bits < 1000 else math.inf
