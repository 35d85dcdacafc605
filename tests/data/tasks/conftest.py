"""Tasks by name, and their sequences as people read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inn.config.parts import settled
from inn.data.tasks.base import Task
from inn.registry import TASKS


@pytest.fixture
def made() -> Callable[..., Task]:
    """A task by its kind, with options."""

    def build(kind: str, **options: Any) -> Task:
        return TASKS[kind](settled("task", TASKS, {"kind": kind, **options}))

    return build


@pytest.fixture
def told(made: Callable[..., Task]) -> Callable[..., list[tuple[list[str], list[str | None]]]]:
    """Some sequences of a task on symbols: the names of the inputs, and of the targets (None: does not count)."""

    def sequences(kind: str, count: int = 40, **options: Any) -> list[tuple[list[str], list[str | None]]]:
        task = made(kind, **options)
        names = np.array([*task.names, None], object)
        drawn = task.draw(np.random.default_rng(7), count)
        at = [slice(*pair) for pair in zip(drawn.starts, drawn.starts[1:], strict=False)]
        targets = np.where(drawn.targets < 0, len(task.names), drawn.targets)
        return [(names[drawn.inputs[i]].tolist(), names[targets[i]].tolist()) for i in at]

    return sequences
