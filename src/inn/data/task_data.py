"""The data of a task, as training, evaluation and analysis read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inn.config.parts import Options
from inn.config.run import DataConfig
from inn.data.dataset import Dataset
from inn.data.examples import Examples, position_of
from inn.data.names import Channels, Names
from inn.data.streams import Batch, check_position
from inn.data.tasks.base import Task
from inn.data.text import PARTS
from inn.registry import TASKS
from inn.system.errors import InputError, lookup, nearest
from inn.system.files import sha256_of


@dataclass(frozen=True)
class TaskData(Dataset):
    """Examples with targets. `train`, `valid`, `test` are their inputs, one after another: `[S]` or `[S, F]`.

    Attributes:
        task: where they come from.
        parts: the examples by part; of a training part that is endless, some.
        endless: whether training draws new ones for every batch.
    """

    task: Task = field(kw_only=True)
    parts: dict[str, Examples] = field(kw_only=True)
    endless: bool = field(kw_only=True)

    @property
    def longest(self) -> int:
        """Steps of the longest sequence that is trained on."""
        return int(self.parts["train"].lengths.max())

    @property
    def continues(self) -> bool:
        """Whether what is told at every step is the next symbol, as of a text."""
        seen = self.parts["valid"]
        if self.task.signal or seen.targets.ndim > 1:
            return False
        inside = np.ones(len(seen.inputs), bool)
        inside[seen.starts[1:] - 1] = False  # what comes after the last step is not among the inputs
        last = np.flatnonzero(inside)
        return bool((seen.targets[last] == seen.inputs[last + 1]).all()) and bool(len(last))

    def examples(self, part: str) -> Examples:
        """The examples of a part; raises `InputError` for an unknown one."""
        return lookup("part of a task", part, self.parts)

    def steps(self, config: DataConfig, symbols: int) -> int:
        return -(-symbols // (config.batch * self.longest))

    def batches(self, config: DataConfig, seed: int, rows: slice) -> Batches:
        return Batches(self, config.batch, seed, rows)


def task_data(config: DataConfig, changes: Mapping[str, Any] | None = None) -> TaskData:
    """The data of the task that the settings name, its options with `changes`.

    Raises `InputError` for options that do not fit, and for data of one's own that cannot be used.

    >>> data = task_data(DataConfig(corpus="task:parity"), {"length": 8})
    >>> data.examples("test").padded()[0].shape, data.vocabulary.symbols()
    ((1000, 8), ['0', '1'])
    """
    options = config.task
    source, _, path = config.corpus.partition(":")
    if source != "task":
        if options.path not in ("", path):
            raise InputError(
                f"data.task.path is '{options.path}', and the corpus names '{path}'; leave data.task.path out"
            )
        options = replace(options, path=path)
    options = with_options(options, changes or {})
    task = TASKS[options.kind](options)
    parts = {name: task.part(name) for name in PARTS}
    endless = parts["train"] is None
    parts["train"] = parts["train"] or task.sample()
    for name, examples in parts.items():
        try:
            examples.check()
        except InputError as error:
            raise InputError(f"the {name} part of corpus '{config.corpus}' cannot be used: {error}") from None
    vocabulary = Channels(task.channels, task.classes, task.values) if task.signal else Names(task.names)
    return TaskData(
        config.corpus,
        **{name: examples.inputs for name, examples in parts.items()},
        vocabulary=vocabulary,
        sha256=sha256_of(np.ascontiguousarray(a).tobytes() for e in parts.values() for a in (e.inputs, e.targets)),
        task=task,
        parts=parts,
        endless=endless,
    )


def with_options(options: Options, changes: Mapping[str, Any]) -> Options:
    """A task's options with some changed; raises `InputError` for one that it has not, and for values of no use."""
    for name in changes:
        if name not in vars(options) or name == "kind":
            known = [n for n in vars(options) if n != "kind"]
            raise InputError(f"task '{options.kind}' has no option '{name}'{nearest(name, known)}")
    return replace(options, **changes)


class Batches:
    """Batches of a task's training part: drawn anew each time where it is endless, else every example once a pass.

    The order of the examples, and what is drawn, follow from the seed and the number of the batch alone.

    Args:
        batch: sequences of a batch (B).
        rows: which of them are read, where several processes share them.
    """

    def __init__(self, data: TaskData, batch: int, seed: int, rows: slice = slice(None)):
        self.data, self.batch, self.seed = data, batch, seed
        self._rows, self._batches = rows, 0
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    @property
    def passes(self) -> int:
        """Passes over the examples that are complete; 0 where they are endless."""
        return 0 if self.data.endless else self._batches * self.batch // len(self.data.examples("train"))

    def next(self) -> Batch:
        """The next batch, filled up to its longest sequence."""
        import torch  # here, so that the corpora can be listed without waiting for it

        task, number = self.data.task, self._batches
        self._batches += 1
        places = np.arange(self.batch)[self._rows]
        if self.data.endless:
            # All rows are drawn, whoever reads them: so a row is the same whatever the number of processes.
            drawn = task.draw(task.rng("train", self.seed, number), self.batch)
            chosen = drawn if len(places) == self.batch else drawn.take(places)
        else:
            chosen = self.data.examples("train").take(
                np.array([self._example(number * self.batch + place) for place in places.tolist()])
            )
        # The steps that fill a row up need no mask: they come last, where nothing is carried on and nothing counts.
        inputs, targets, _ = chosen.padded()
        weights = None if chosen.weights is None else torch.from_numpy(chosen.weights)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), None, weights)

    def _example(self, place: int) -> int:
        passes, at = divmod(place, len(self.data.examples("train")))
        if self._order[0] != passes:
            order = np.random.default_rng([self.seed, passes]).permutation(len(self.data.examples("train")))
            self._order = passes, order
        return int(self._order[1][at])

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain data."""
        return {"batches": self._batches, **self._fixed()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position; raises `InputError` where it belongs to other batches."""
        check_position(state, self._fixed())
        self._batches = position_of(state, "batches")

    def _fixed(self) -> dict[str, Any]:
        return {"batch": self.batch, "seed": self.seed}
