"""Time series of known sets, from the files that the wheel of aeon holds; aeon itself is not imported."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from inn.config.checks import check_at_least, check_fraction
from inn.config.parts import Options
from inn.data.examples import Examples, last_step
from inn.data.tasks.base import Task
from inn.system.errors import InputError, lookup

SETS = {
    "JapaneseVowels": 1,
    "BasicMotions": 1,
    "ArrowHead": 4,
    "GunPoint": 2,
    "ItalyPowerDemand": 1,
    "OSULeaf": 6,
    "ACSF1": 20,
    "PickupGestureWiimoteZ": 4,
}
"""The sets, and how many steps of each the studies fold into one."""


@dataclass
class SeriesOptions(Options):
    """Which class a time series has: the sets of the wheel of aeon, in their standard split."""

    name: str = "JapaneseVowels"
    """The set: JapaneseVowels, BasicMotions, ArrowHead, GunPoint, ItalyPowerDemand, OSULeaf, ACSF1, ..."""
    fold: int = 1
    """Steps that are laid side by side as channels of one."""
    valid: float = 0.2
    """Share of the training series, class by class, that is held out for validation."""
    seed: int = 0
    """Chooses the series that are held out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup("set of series", self.name, SETS)
        check_at_least(self, 1, "fold")
        check_at_least(self, 0, "seed")
        check_fraction(self, "valid")


class Series(Task):
    """Which class a time series has, said at its last step; the standard split, a validation part cut from train."""

    Options = SeriesOptions
    signal = True

    @property
    def channels(self) -> list[str]:
        count = self._read("TRAIN")[0][0].shape[1]
        return [f"{c}.{k}" if self.options.fold > 1 else str(c) for k in range(self.options.fold) for c in range(count)]

    @cached_property
    def classes(self) -> list[str]:
        return sorted(set(self._read("TRAIN")[1]))

    def part(self, name: str) -> Examples:
        series, labels = self._read("TEST" if name == "test" else "TRAIN")
        numbers = np.array([self.classes.index(label) for label in labels])
        chosen = np.arange(len(series))
        if name != "test":
            held = held_out(numbers, self.options.valid, self.options.seed)
            chosen = np.flatnonzero(held if name == "valid" else ~held)
        inputs = [folded(series[i], self.options.fold) for i in chosen]
        return Examples.of(inputs, [last_step(int(numbers[i]), len(x)) for i, x in zip(chosen, inputs, strict=True)])

    def _read(self, part: str) -> tuple[list[np.ndarray], list[str]]:
        name = self.options.name
        return read_ts(aeon_folder() / "datasets" / "data" / name / f"{name}_{part}.ts")


def aeon_folder() -> Path:
    """Where aeon is installed; raises `InputError` where it is not."""
    spec = find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the time series come with aeon, which is not installed; pip install aeon")
    return Path(spec.submodule_search_locations[0])


@cache
def read_ts(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """The series `[T, F]` of a `.ts` file, and the label of each: channels stand between colons, the label last."""
    series, labels = [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.strip() and line[0] not in "@#":
            *channels, label = line.strip().split(":")
            columns = [[float(v) if v != "?" else np.nan for v in c.split(",")] for c in channels]
            series.append(np.array(columns, np.float32).T)
            labels.append(label.strip())
    return series, labels


def folded(series: np.ndarray, fold: int) -> np.ndarray:
    """`[T, F]` -> `[T / fold, fold F]`: so many steps side by side; what is missing at the start is its first step.

    >>> folded(np.array([[1.0], [2.0], [3.0]]), 2).tolist()
    [[1.0, 1.0], [2.0, 3.0]]
    """
    missing = -len(series) % fold
    whole = np.concatenate([np.repeat(series[:1], missing, 0), series])
    return whole.reshape(len(whole) // fold, -1)


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """`[n]` bool: a share of each class, at least one of those that have two."""
    rng, held = np.random.default_rng([seed, 1]), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        held[of_class[: max(round(share * len(of_class)), int(len(of_class) > 1))]] = True
    return held


def published(name: str) -> dict[str, float]:
    """Published accuracies on the standard split of a set, by classifier; empty where aeon's tables have it not."""
    folder = aeon_folder() / "testing" / "example_results_files" / "classification" / "accuracy"
    found = {}
    for classifier in ("HC2", "InceptionTime"):
        with (folder / f"{classifier}_accuracy.csv").open(encoding="utf-8") as file:
            found |= {who: float(row[1]) for row in csv.reader(file) for who in [classifier] if row[0] == name}
    return found
