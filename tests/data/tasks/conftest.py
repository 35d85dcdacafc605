"""Sequences of tasks as people read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inn.data.tasks.base import task


@pytest.fixture
def told() -> Callable[..., list[tuple[list[str], list[str | None]]]]:
    """Some sequences of a task on symbols: the names of the inputs, and of the targets (None: does not count)."""

    def sequences(kind: str, count: int = 40, **options: Any) -> list[tuple[list[str], list[str | None]]]:
        made = task(kind, **options)
        names = np.array([*made.names, None], object)
        drawn = made.draw(np.random.default_rng(7), count)
        at = [slice(*pair) for pair in zip(drawn.starts, drawn.starts[1:], strict=False)]
        targets = np.where(drawn.targets < 0, len(made.names), drawn.targets)
        return [(names[drawn.inputs[i]].tolist(), names[targets[i]].tolist()) for i in at]

    return sequences
