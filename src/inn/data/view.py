"""Examples as people read them: what is read at each step, and what is to be told there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inn.data.base import Vocabulary
from inn.data.examples import IGNORED, Examples
from inn.data.names import Channels

CHANNELS = 4
"""Channels of a step that are shown; of more, the first ones."""


def numbers(values: np.ndarray) -> str:
    """Numbers `[F]` in short: three digits, `–` for what is missing, `…` for those beyond `CHANNELS`.

    >>> numbers(np.array([0.12345, np.nan, -20.0]))
    '0.123 – -20'
    """
    said = ["–" if np.isnan(v) else f"{v:.3g}" for v in values[:CHANNELS].tolist()]
    return " ".join([*said, *["…"] * (len(values) > CHANNELS)])


def step_text(value: np.ndarray, vocabulary: Vocabulary) -> str:
    """What is read at a step: a symbol by name, or the values of a signal `[F]`."""
    return numbers(value) if isinstance(vocabulary, Channels) else vocabulary.symbol(int(value))


def target_text(target: np.ndarray, vocabulary: Vocabulary) -> str | None:
    """What is to be told at a step, by name or as values `[O]`; None where nothing counts."""
    if np.ndim(target):
        return None if np.isnan(target).all() else numbers(target)
    return None if target == IGNORED else vocabulary.symbol(int(target))


def sequence_rows(examples: Examples, vocabulary: Vocabulary) -> Iterator[tuple[str, str | None]]:
    """Step by step what is read, and the target where one counts.

    >>> from inn.data.names import Names
    >>> one = Examples.of([np.array([1, 0])], [np.array([-100, 1])])
    >>> list(sequence_rows(one, Names(["a", "b"])))
    [('b', None), ('a', 'b')]
    """
    for value, target in zip(examples.inputs, examples.targets, strict=True):
        yield step_text(value, vocabulary), target_text(target, vocabulary)
