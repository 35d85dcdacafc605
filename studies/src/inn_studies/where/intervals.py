"""How sure a score is: intervals over seeds, or over test sequences where there is one seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t at 97.5 % for 1 to 9 degrees of freedom."""


def interval(values: Sequence[float], sequences: int, share: bool) -> tuple[float, float] | None:
    """The 95 % interval of a mean score.

    Args:
        values: one per seed.
        sequences: that each was measured on; of a single seed it says how sure a share of them is.
        share: whether it is a share, from 0 to 1. Of another score one seed says nothing: None.

    >>> interval([0.5, 0.7], 100, share=True)
    (-0.6706, 1.8706)
    >>> interval([1.0], 100, share=True)
    (0.963, 1.0)
    """
    mean = statistics.mean(values)
    if len(values) > 1:
        half = T975[min(len(values) - 1, len(T975)) - 1] * statistics.stdev(values) / math.sqrt(len(values))
        return round(mean - half, 4), round(mean + half, 4)
    if not share:
        return None
    z, n = 1.96, max(sequences, 1)  # Wilson's: sequences are independent, steps of one are not
    middle, half = (mean + z * z / (2 * n)), z * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return round((middle - half) / (1 + z * z / n), 4), round((middle + half) / (1 + z * z / n), 4)


def ahead(
    ours: Sequence[float], theirs: Sequence[float], sequences: int, share: bool, higher: bool = True
) -> bool | None:
    """Whether our scores are better than theirs outside both intervals; None where one seed cannot tell.

    >>> ahead([0.9, 0.91, 0.92], [0.5, 0.51, 0.52], 100, share=True)
    True
    >>> ahead([0.9], [0.89], 100, share=True), ahead([0.9], [0.5], 100, share=False)
    (False, None)
    """
    a, b = interval(ours, sequences, share), interval(theirs, sequences, share)
    if a is None or b is None:
        return None
    return a[0] > b[1] if higher else a[1] < b[0]


def shown(values: Sequence[float], digits: int = 3) -> str:
    """The mean, and half the interval over seeds where there are several.

    >>> shown([0.5]), shown([0.5, 0.7]), shown([])
    ('0.500', '0.600 ± 1.271', '–')
    """
    if not values:
        return "–"
    found = interval(values, 1, share=False)
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if found is None else f"{mean} ± {(found[1] - found[0]) / 2:.{digits}f}"
