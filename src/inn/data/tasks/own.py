"""What `csv` and `npz` have in common: sequences of one's own, what is told of them, and their split into parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import PARTS, Metric, Task
from inn.system.errors import InputError

_WHOLE = re.compile(r"[+-]?\d+")


@dataclass
class OwnOptions(Options):
    """What data of one's own have in common."""

    path: str = ""
    """The file."""
    predict: Literal["auto", "classes", "values"] = "auto"
    """What the target is: classes, or numbers (values); auto: texts and whole numbers are classes."""
    horizon: int | None = None
    """Steps from an input to the target that is told from it, where targets change along a series; null: 1 in a
    forecast of the channels themselves, else 0."""
    split: list[float] = field(default_factory=lambda: [0.7, 0.15, 0.15])
    """Shares of train, valid and test. Series are dealt at random, each class alike; a single one is cut along time."""
    length: int = 128
    """Steps of the windows that one long series is cut into."""
    stride: int = 0
    """Steps from one window of the training part to the next; 0: the length, so that none overlap."""
    seed: int = 0
    """Seed of the split."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "horizon", "stride", "seed")
        check_at_least(self, 2, "length")
        if len(self.split) != 3 or min(self.split) <= 0 or abs(sum(self.split) - 1) > 1e-6:
            raise InputError(
                f"split must be three shares above 0 that sum to 1, such as [0.7,0.15,0.15], not {self.split}"
            )


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        examples: all sequences; of a forecast, the targets are still to be made.
        channels: the names of the channels.
        classes: the names of the classes, where the targets are classes.
        values: the names of the numbers, where the targets are numbers.
        steady: whether a sequence has one target, at its last step.
        forecast: whether what is told is the channels themselves.
        parts: the part of each sequence, `[n]` of 0, 1, 2; None: to be split.
    """

    examples: Examples
    channels: list[str]
    classes: list[str]
    values: list[str]
    steady: bool = False
    forecast: bool = False
    parts: np.ndarray | None = None


class Own(Task):
    """Sequences of one's own: a subclass reads its file in `read`."""

    Options = OwnOptions
    signal: ClassVar[bool] = True

    def read(self) -> Content:
        """Read the file; raises `InputError` for what is wrong with it."""
        raise NotImplementedError

    @cached_property
    def content(self) -> Content:
        """What the file holds, read once."""
        if not self.options.path:
            raise InputError(f"task '{self.options.kind}' needs a file; give {self.options.kind}:PATH")
        found = self.read()
        if found.classes and len(found.classes) == 1:
            raise InputError(
                f"{self.options.path}: the only class is '{found.classes[0]}'; give at least two to tell apart"
            )
        return found

    @property
    def metric(self) -> Metric:  # pyright: ignore[reportIncompatibleVariableOverride] what is told decides it
        return "accuracy" if self.content.classes else "rmse"

    @property
    def channels(self) -> list[str]:
        return self.content.channels

    @property
    def classes(self) -> list[str]:
        return self.content.classes

    @property
    def horizon(self) -> int:
        """Steps from an input to its target."""
        given = self.options.horizon
        return int(self.content.forecast) if given is None else given

    @property
    def values(self) -> list[str]:
        if self.content.forecast:  # the next step is the signal's own and needs no names; a later one is a value
            return [] if self.horizon == 1 else [f"{name}+{self.horizon}" for name in self.channels]
        return self.content.values

    def part(self, name: str) -> Examples:
        return self._parts[PARTS.index(name)]

    @cached_property
    def _parts(self) -> list[Examples]:
        content = self.content
        if content.forecast and not self.horizon:
            raise InputError("horizon must be at least 1 where the channels themselves are told, not 0")
        if content.parts is None and len(content.examples) == 1 and not content.steady:
            parts = self._windows()
        else:
            dealt = self._dealt() if content.parts is None else content.parts
            parts = [self._told(content.examples.take(np.flatnonzero(dealt == i))) for i in range(3)]
        for name, part in zip(PARTS, parts):
            if not len(part) or not part.counted:
                raise InputError(
                    f"{self.options.path} leaves the {name} part without a target that counts; "
                    "give more rows, or another data.task.split"
                )
        empty = np.isnan(parts[0].inputs).all(0)
        if empty.any():
            raise InputError(
                f"{self.options.path}: channel '{self.channels[int(empty.argmax())]}' has no value in the training "
                "part; leave it out, or split otherwise"
            )
        return parts

    def _told(self, part: Examples) -> Examples:
        if self.content.forecast:
            return Examples(part.inputs, ahead(part.inputs, part.starts, self.horizon), part.starts)
        if self.content.steady or not self.horizon or not len(part):
            return part
        return Examples(part.inputs, ahead(part.targets, part.starts, self.horizon), part.starts, part.weights)

    def _windows(self) -> list[Examples]:
        """One long series, cut along time into parts, and these into windows."""
        whole, options = self.content.examples, self.options
        steps = len(whole.inputs)
        bounds = [0, *np.rint(np.cumsum(options.split) * steps).astype(int).tolist()]
        made = []
        for i in range(3):
            piece = slice(bounds[i], bounds[i + 1])
            size = bounds[i + 1] - bounds[i]
            if size <= self.horizon:
                raise InputError(
                    f"{options.path} is one series of {steps} steps, and {size} of them are too few for the {PARTS[i]} "
                    "part; give more rows, another data.task.split, or the column that tells series apart"
                )
            cut = Examples(whole.inputs[piece], whole.targets[piece], np.array([0, size]))
            told = cut if self.content.forecast else self._told(cut)
            stride = (options.stride if i == 0 else 0) or options.length
            begins = np.arange(0, max(1, size - self.horizon), stride)
            chosen = [np.arange(at, min(at + options.length, size)) for at in begins.tolist()]
            starts = np.cumsum([0, *map(len, chosen)], dtype=np.int64)
            steps_of = np.concatenate(chosen)
            windows = Examples(told.inputs[steps_of], told.targets[steps_of], starts)
            made.append(self._told(windows) if self.content.forecast else windows)
        return made

    def _dealt(self) -> np.ndarray:
        """The part of each sequence: the classes spread evenly, else at random."""
        examples, options = self.content.examples, self.options
        count = len(examples)
        rng = np.random.default_rng(options.seed)
        order = rng.permutation(count)
        labels = examples.targets[examples.starts[1:] - 1] if self.content.steady and self.classes else None
        if labels is not None:  # the i-th of n of a class stands at (i + 1/2) / n of the whole order
            place = np.empty(count)
            for label in np.unique(labels):
                of = order[labels[order] == label]
                place[of] = (np.arange(len(of)) + 0.5) / len(of)
            order = order[np.argsort(place[order], kind="stable")]
        bounds = np.rint(np.cumsum(options.split) * count).astype(int)
        dealt = np.empty(count, np.int64)
        dealt[order] = np.searchsorted(bounds[:2], np.arange(count), side="right")
        for i, name in enumerate(PARTS):
            if not (dealt == i).any():
                raise InputError(
                    f"{options.path} has {count} series, too few for a {name} part of {options.split[i]:g}; "
                    "give more series, or another data.task.split"
                )
        if labels is not None:
            for i, name in enumerate(self.classes):
                if not (labels[dealt == 0] == i).any():
                    raise InputError(
                        f"{options.path}: class '{name}' has {(labels == i).sum()} series, none of it in the training "
                        "part; give more of it, leave it out, or another data.task.split"
                    )
        return dealt


def ahead(numbers: np.ndarray, starts: np.ndarray, steps: int) -> np.ndarray:
    """What stands so many steps later in the same sequence; what lies beyond its end does not count.

    >>> ahead(np.array([1.0, 2.0, 3.0]), np.array([0, 3]), 1).tolist()
    [2.0, 3.0, nan]
    """
    nothing = np.nan if numbers.dtype.kind == "f" else IGNORED
    later = np.full_like(numbers, nothing)
    if steps < len(numbers):
        later[: len(numbers) - steps] = numbers[steps:]
    ends = np.repeat(starts[1:], np.diff(starts))
    later[np.arange(len(numbers)) + steps >= ends] = nothing
    return later


def numbered(labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Classes of labels, in the order of numbers where all are whole numbers, and the number of each label; `""` is
    a label that is missing and has -100.

    >>> numbered(["10", "9", "", "9"])
    (['9', '10'], array([   1,    0, -100,    0]))
    """
    known = Counter(label for label in labels if label)
    whole = all(map(_WHOLE.fullmatch, known))
    names = sorted(known, key=int) if whole else sorted(known)
    number = {name: i for i, name in enumerate(names)} | {"": IGNORED}
    return names, np.array([number[label] for label in labels], np.int64)


def whole_numbers(cells: Sequence[str]) -> bool:
    """Whether all cells that hold something hold whole numbers.

    >>> whole_numbers(["1", "", "-2"]), whole_numbers(["1.0"])
    (True, False)
    """
    return all(_WHOLE.fullmatch(cell) for cell in set(cells) if cell)


def at_last_step(labels: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Targets of which only the last step of each sequence counts: `labels` `[n]` or `[n, O]`."""
    nothing = np.nan if labels.dtype.kind == "f" else IGNORED
    targets = np.full((int(starts[-1]), *labels.shape[1:]), nothing, labels.dtype)
    targets[starts[1:] - 1] = labels
    return targets
