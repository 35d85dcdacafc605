"""Scores of lines made of the bits of their bytes, and how well they rank the faulty ones first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from inn.inference.scoring.usual import Usual
from inn_studies.logs.samples import shape

WAYS = {
    "sum": "the bits of the line",
    "mean": "its bits per byte",
    "peak": "its most expensive byte",
    "surprise": "how far it is from the 1,000 lines before it, as `inn score` ranks lines",
    "over-shape": "its bits beyond the mean of earlier lines that are the same but for fields with digits",
}
"""How a line's score is made of its bytes' bits."""


def line_scores(lines: Sequence[bytes], bits: np.ndarray) -> dict[str, np.ndarray]:
    """Scores `[lines]` by way, of the bits `[bytes]` of all lines one after the other.

    >>> found = line_scores([b"a1\\n", b"a2\\n"], np.array([1.0, 2, 3, 1, 4, 1]))
    >>> found["sum"].tolist(), found["mean"].tolist(), found["peak"].tolist(), found["over-shape"].tolist()
    ([6.0, 6.0], [2.0, 2.0], [3.0, 4.0], [0.0, 0.0])
    """
    ends = np.cumsum([len(line) for line in lines])
    parts = np.split(bits, ends[:-1])
    sums, peaks = np.array([part.sum() for part in parts]), np.array([part.max() for part in parts])
    means = sums / np.array([len(part) for part in parts])
    usual = Usual()
    return {
        "sum": sums,
        "mean": means,
        "peak": peaks,
        "surprise": np.array([usual.surprise(rate, peak) for rate, peak in zip(means.tolist(), peaks.tolist())]),
        "over-shape": _over_shape(lines, sums),
    }


def _over_shape(lines: Sequence[bytes], sums: np.ndarray) -> np.ndarray:
    """The bits of lines beyond the mean of those before that have the same shape, of a new shape beyond that of all."""
    known: dict[bytes, tuple[float, int]] = {}
    whole, found = (0.0, 0), np.zeros(len(lines))
    for i, (line, bits) in enumerate(zip(lines, sums.tolist())):
        of = shape(line)
        total, times = known.get(of, whole)
        found[i] = bits - (total / times if times else bits)
        total, times = known.get(of, (0.0, 0))
        known[of], whole = (total + bits, times + 1), (whole[0] + bits, whole[1] + 1)
    return found


def average_precision(scores: np.ndarray, wrong: np.ndarray) -> float:
    """The mean precision at the places of the wrong ones, the highest score first; equal scores are one place.

    >>> average_precision(np.array([3.0, 2, 1]), np.array([True, False, True])) == (1 + 2 / 3) / 2
    True
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(wrong[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each group of equal scores
    gained = np.diff(np.append(0, hits[last]))
    return float((gained * hits[last] / (last + 1)).sum() / hits[-1])


def precisions(lines: Sequence[bytes], bits: np.ndarray, kinds: Sequence[str]) -> dict[str, dict[str, float]]:
    """Average precision by way, among the lines of the second half, of all faults and of each kind alone."""
    half = len(lines) // 2
    found: dict[str, dict[str, float]] = {}
    for way, scores in line_scores(lines, bits).items():
        told, of = scores[half:], np.array(kinds[half:])
        found[way] = {"all": average_precision(told, of != "")}
        for kind in sorted(set(kinds) - {""}):
            among = (of == "") | (of == kind)
            found[way][kind] = average_precision(told[among], of[among] != "")
    return found


def chosen(found: Mapping[str, Mapping[str, float]], systems: Sequence[str]) -> str:
    """The option with the best mean over systems: `found` has a value for each option by system."""
    options = next(iter(found.values()))
    return max(options, key=lambda option: np.mean([found[system][option] for system in systems]))
