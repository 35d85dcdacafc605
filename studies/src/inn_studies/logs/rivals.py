"""Cheap models that tell what each byte of a log costs, as they read it: counts of a fixed order, and PPM."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

ORDERS = (1, 2, 3, 4, 5, 6)
"""Orders of the tables of counts, of which the best is compared."""
PPM_ORDER = 8
_PRIOR = 1 / 256  # of a byte after a context; all 256 together weigh as one that was seen


def order_bits(text: bytes, order: int) -> np.ndarray:
    """Bits of each byte `[n]` under counts of what followed the last `order` bytes, learned as the text is read.

    >>> order_bits(b"abababab", 1).round(1).tolist()
    [8.0, 8.0, 8.0, 1.0, 1.0, 0.6, 0.6, 0.4]
    """
    tables: dict[bytes, dict[int, int]] = {}
    sums: dict[bytes, int] = {}
    bits = np.empty(len(text))
    for i, symbol in enumerate(text):
        context = text[max(0, i - order) : i]
        table = tables.setdefault(context, {})
        seen = sums.get(context, 0)
        times = table.get(symbol, 0)
        bits[i] = -math.log2((times + _PRIOR) / (seen + 1))
        table[symbol], sums[context] = times + 1, seen + 1
    return bits


def ppm_bits(text: bytes, order: int = PPM_ORDER) -> np.ndarray:
    """Bits of each byte `[n]` under PPM with escapes of method D, exclusion and update exclusion (Howard 1993).

    It is what PPMd is made of, without its inheritance and secondary estimates; pyppmd tells sizes of whole texts only.

    >>> ppm_bits(b"ab" * 30)[-2:].round(1).tolist()
    [0.0, 0.0]
    """
    tables: dict[bytes, dict[int, int]] = {}
    bits = np.empty(len(text))
    for i, symbol in enumerate(text):
        share, out, reached = 1.0, set[int](), -1
        for context, table in _contexts(text, i, order, tables):
            left = {s: times for s, times in table.items() if s not in out} if out else table
            if not left:
                continue
            total = 2 * sum(left.values())
            if symbol in left:
                share *= (2 * left[symbol] - 1) / total
                reached = len(context)
                break
            share *= len(left) / total
            out |= left.keys()
        if reached < 0:
            share /= 256 - len(out)
        bits[i] = -math.log2(share)
        for length in range(max(reached, 0), min(order, i) + 1):
            table = tables.setdefault(text[i - length : i], {})
            table[symbol] = table.get(symbol, 0) + 1
    return bits


def _contexts(
    text: bytes, at: int, order: int, tables: dict[bytes, dict[int, int]]
) -> Iterator[tuple[bytes, dict[int, int]]]:
    """The contexts of a place that are known, the longest first."""
    for length in range(min(order, at), -1, -1):
        context = text[at - length : at]
        if context in tables:
            yield context, tables[context]
