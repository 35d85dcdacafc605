"""The contract of a task: examples for training, validation and test, which targets count, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from inn.config.checks import check_at_least
from inn.config.parts import Options, settled
from inn.data.examples import Examples
from inn.registry import TASKS
from inn.system.errors import InputError

PARTS = ("train", "valid", "test")
Metric = Literal["accuracy", "exact", "auroc", "rmse", "mae"]
_SAMPLE = 2048  # sequences that stand for an endless training part


@dataclass
class TaskOptions(Options):
    """What every task that is generated has."""

    seed: int = 0
    """Seed of the data; the parts are drawn from seeds of their own."""
    examples: int = 1000
    """Sequences of the valid and of the test part, each; the training part is endless."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "seed")
        check_at_least(self, 1, "examples")


class Task:
    """A task. One that is generated defines `draw`; one that is a fixed set of examples defines `part`.

    Its inputs are symbols, or a signal: vectors of numbers. Symbols are numbered by `names`, and what is predicted is a
    symbol, too. A signal has `channels`; what is predicted is one of `classes`, or the numbers `values`, or (where
    both are empty) the signal's own next step.

    Args:
        options: an instance of the class's `Options`.

    Attributes:
        Options: the dataclass of its options.
        signal: whether it reads numbers and not symbols.
        metric: what it is measured by: `accuracy` at counted targets, `exact` (the share of sequences whose targets are
            all met), `auroc`, `rmse`, `mae`.
    """

    Options: ClassVar[type[Options]] = TaskOptions
    signal: ClassVar[bool] = False
    metric: ClassVar[Metric] = "accuracy"

    def __init__(self, options: Any):
        self.options = options

    @property
    def names(self) -> list[str]:
        """Of a task on symbols: their names in order, without white space."""
        return []

    @property
    def actors(self) -> list[str | None]:
        """Of a task whose symbols are somebody's steps: whose each is, in the order of `names`, None where nobody's.

        The page of a run then has a board on which neurons light up beside the one whose step it is. Of other tasks [].

        >>> task("machines", machines=2).actors
        [None, None, None, None, None, None, 'm0', 'm0', 'm0', 'm0', 'm0', 'm0', 'm1', 'm1', 'm1', 'm1', 'm1', 'm1']
        """
        return []

    @property
    def channels(self) -> list[str]:
        """Of a signal: the names of its channels (F)."""
        return []

    @property
    def classes(self) -> list[str]:
        """Of a signal that is classified: the names of the classes."""
        return []

    @property
    def values(self) -> list[str]:
        """Of a signal from which numbers are told: their names (O)."""
        return []

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        """Generate sequences, all of them at once: the same from the same random numbers.

        Symbols: inputs int64, targets int64. A signal: inputs float32 `[S, F]`; targets int64 (classes), or float32
        `[S, O]`. A step whose target does not count has -100, or NaN.
        """
        raise NotImplementedError

    def part(self, name: str) -> Examples | None:
        """The examples of a part; None for a training part that is endless, and drawn from batch by batch."""
        if name == "train":
            return None
        return self.draw(self.rng(name), self.options.examples)

    def optimal_loss(self, examples: Examples) -> float | None:
        """The loss of the best prediction that there is, in nats per target that counts; None where it is not known."""
        return None

    def rng(self, part: str, *numbers: int) -> np.random.Generator:
        """Random numbers of a part that no other part has; `numbers` tell draws from it apart."""
        return np.random.default_rng([self.options.seed, PARTS.index(part), *numbers])

    def sample(self) -> Examples:
        """Examples of the training part, to measure it by."""
        found = self.part("train")
        return self.draw(self.rng("train"), min(_SAMPLE, max(64, self.options.examples))) if found is None else found


def task(kind: str, **options: Any) -> Task:
    """A task by the name of its kind, with options.

    Raises `InputError` for a kind that is not there, and for options that it has not or that cannot be.

    >>> recall = task("recall", pairs=2, length=8)
    >>> inputs, targets, _ = recall.draw(recall.rng("train", 0), 3).padded()
    >>> inputs.shape, targets.shape
    ((3, 8), (3, 8))
    """
    chosen = settled("task", TASKS, {"kind": kind, **options})
    if TASKS.empty(kind):
        raise InputError(f"'{kind}' stands for no task; name one that `inn kinds task` lists")
    return TASKS[kind](chosen)
