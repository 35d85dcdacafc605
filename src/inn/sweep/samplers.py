"""Two of the ways to search, as samplers of Optuna: a walk down a tree of choices, and evolution.

Both draw all values of a trial at once, from the space and from what became of the trials before it, and keep nothing
themselves: so a search that was stopped goes on as if it had not been, whoever goes on with it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any

import numpy as np
import optuna  # pyright: ignore[reportMissingImports]
from optuna.samplers import BaseSampler  # pyright: ignore[reportMissingImports]

from inn.sweep.space import Choice, Range, Space
from inn.sweep.trials import counted

CELLS = 32
"""Cells of a continuous range: a tree halves it so often, and draws within a cell."""
Values = Mapping[str, Any]
Known = Sequence[tuple[Values, float]]
"""The values of earlier trials, each with its score in [0, 1]."""


class SpaceSampler(BaseSampler):
    """A sampler that makes a whole trial of a space; a subclass says how in `draw`."""

    def __init__(self, space: Space, seed: int = 0):
        self.space, self.seed = space, seed

    @abstractmethod
    def draw(self, known: Known, rng: np.random.Generator) -> dict[str, Any]:
        """The values of a trial."""

    def infer_relative_search_space(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        return {}  # everything is drawn setting by setting, for conditions hang on what was drawn

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        before = [other for other in counted(study) if other.number != trial.number]
        known = [(t.params, score) for t, score in zip(before, scores(before), strict=True)]
        rng = np.random.default_rng([self.seed, len(before)])  # the same for all settings of a trial
        drawn = self.draw(known, rng)
        if param_name not in drawn:  # a trial that was given some of its values
            drawn[param_name] = _any(self.space.parts[param_name], rng)
        return drawn[param_name]


def scores(trials: Sequence[optuna.trial.FrozenTrial]) -> list[float]:
    """The share of the others that each trial is better than, ties counted half: 1 is the best of them.

    Those that were pruned are behind those that came to an end, and before those that came to nothing or are under way.
    """
    ranks = [_rank(trial) for trial in trials]
    others = max(1, len(ranks) - 1)
    return [(sum(r < o for o in ranks) + (sum(r == o for o in ranks) - 1) / 2) / others for r in ranks]


def _rank(trial: optuna.trial.FrozenTrial) -> tuple[float, ...]:
    """Less is better."""
    if trial.state.name == "COMPLETE" and trial.value is not None:
        return 0, 0, trial.value
    if trial.state.name == "PRUNED" and (step := trial.last_step) is not None:
        return 1, -step, trial.intermediate_values[step]
    return 2, 0, 0


class TreeSampler(SpaceSampler):
    """Monte Carlo tree search (after DeepArchitect, arXiv 1704.08792): a trial is a way down a tree of choices.

    At each setting it goes where mean + c √(2 ln n / n_branch) of the scores is largest, n being the trials that came
    this way, and where nobody has been before it goes first. Choices come before ranges, and a range is a tree of
    halves. What was tried wholly is left out, so that nothing is tried twice while anything else is there.

    >>> space = Space({"a": Choice((1, 2))})
    >>> TreeSampler(space).draw([({"a": 1}, 1.0)], np.random.default_rng(0))
    {'a': 2}
    """

    def __init__(self, space: Space, seed: int = 0, c: float = 0.3):
        super().__init__(space, seed)
        self.c = c

    def draw(self, known: Known, rng: np.random.Generator) -> dict[str, Any]:
        values: dict[str, Any] = {}
        order = self.space.order()  # choices first: conditions are on them, and halves of a range part what is known
        for name in sorted(order, key=lambda name: isinstance(self.space.parts[name], Range)):
            if self.space.active(name, values):
                known = [(v, score) for v, score in known if name in v]
                values[name], known = self._go(name, values, known, rng)
        return values

    def _go(self, name: str, values: Values, known: Known, rng: np.random.Generator) -> tuple[Any, Known]:
        """The value of a setting, and the trials that have it, too."""
        part = self.space.parts[name]
        if isinstance(part, Choice):
            branches = {value: [k for k in known if k[0][name] == value] for value in part.values}
            left = {v: ks for v, ks in branches.items() if not self._done({**values, name: v}, ks)}
            return self._best(left or branches, rng)
        first, end = 0, _cells(part)
        while end - first > 1:
            middle = (first + end) // 2
            halves = {}
            for a, b in ((first, middle), (middle, end)):
                halves[a, b] = [k for k in known if a <= _cell(part, k[0][name]) < b]
            (first, end), known = self._best(halves, rng)
        return _within(part, first, rng), known

    def _best(self, branches: Mapping[Any, Known], rng: np.random.Generator) -> tuple[Any, Known]:
        new = [branch for branch, known in branches.items() if not known]
        if new:
            chosen = new[rng.integers(len(new))]
        else:
            wide = 2 * math.log(sum(map(len, branches.values())))
            promise = {
                branch: sum(score for _, score in known) / len(known) + self.c * math.sqrt(wide / len(known))
                for branch, known in branches.items()
            }
            best = [branch for branch, p in promise.items() if p == max(promise.values())]
            chosen = best[rng.integers(len(best))]
        return chosen, branches[chosen]

    def _done(self, values: Values, known: Known) -> bool:
        """Whether all that begins with these values was tried."""
        tried = len({tuple(v.items()) for v, _ in known})
        return bool(known) and sum(1 for _ in islice(_below(self.space, values), tried + 1)) <= tried


class EvolutionSampler(SpaceSampler):
    """Evolution: the first trials are drawn at random, the others are changed copies of good ones.

    A parent is one of the better half of the `population` best trials so far. A child differs from it in one setting,
    half of the time in one more, and so on; of a number the new value is half of the time a near one. What a changed
    setting brings with it is drawn at random. A child that is there already is drawn again, a few times.

    >>> space = Space({"a": Choice((1, 2))})
    >>> EvolutionSampler(space, population=1).draw([({"a": 1}, 1.0)], np.random.default_rng(0))
    {'a': 2}
    """

    def __init__(self, space: Space, seed: int = 0, population: int = 16):
        super().__init__(space, seed)
        self.population = population

    def draw(self, known: Known, rng: np.random.Generator) -> dict[str, Any]:
        parents: list[Values] = []
        if len(known) >= self.population:
            best = sorted(known, key=lambda k: -k[1])[: max(1, self.population // 2)]
            parents = [values for values, score in best if values]
        child: dict[str, Any] = {}
        for _ in range(20):
            child = self._child(parents[rng.integers(len(parents))] if parents else {}, rng)
            if all(child != values for values, _ in known):
                break
        return child

    def _child(self, parent: Values, rng: np.random.Generator) -> dict[str, Any]:
        names = [name for name in parent if name in self.space.parts]
        changed = {names[rng.integers(len(names))]} if names else set()
        while names and rng.random() < 0.5:
            changed.add(names[rng.integers(len(names))])
        child: dict[str, Any] = {}
        for name in self.space.order():
            if self.space.active(name, child):
                part = self.space.parts[name]
                if name in changed:
                    child[name] = _other(part, parent[name], rng)
                else:
                    child[name] = parent[name] if name in parent else _any(part, rng)
        return child


def _below(space: Space, values: Values) -> Iterator[Values]:
    """Everything that begins with these values; without an end where a range is continuous."""
    for name in space.order():
        if name not in values and space.active(name, values):
            for value in _listed(space.parts[name]):
                yield from _below(space, {**values, name: value})
            return
    yield values


def _listed(part: Range | Choice) -> Iterator[Any]:
    if isinstance(part, Choice):
        return iter(part.values)
    return repeat(part.low) if _cells(part) == CELLS else (part.low + i * _step(part) for i in range(_cells(part)))


def _any(part: Range | Choice, rng: np.random.Generator) -> Any:
    if isinstance(part, Choice):
        return part.values[rng.integers(len(part.values))]
    return _within(part, int(rng.integers(_cells(part))), rng)


def _other(part: Range | Choice, value: Any, rng: np.random.Generator) -> Any:
    """Another value; of a number half of the time one at most an eighth of the range away."""
    if isinstance(part, Choice):
        others = [other for other in part.values if other != value] or [value]
        return others[rng.integers(len(others))]
    cells, cell = _cells(part), _cell(part, value)
    near = max(1, cells // 8) if rng.random() < 0.5 else cells
    others = [c for c in range(max(0, cell - near), min(cells, cell + near + 1)) if c != cell]
    return _within(part, others[rng.integers(len(others))], rng) if others else value


def _step(part: Range) -> float:
    """From one number of a range to the next; 0 where it is continuous."""
    return part.step or (1 if isinstance(part.low, int) and isinstance(part.high, int) else 0)


def _cells(part: Range) -> int:
    """Into how many cells a range is cut: one for each number, where there are few."""
    step = _step(part)
    return CELLS if part.log or not step else math.floor((part.high - part.low) / step + 1e-9) + 1


def _cell(part: Range, value: float) -> int:
    if not part.log and (step := _step(part)):
        return round((value - part.low) / step)
    low, high, value = (math.log(x) if part.log else x for x in (part.low, part.high, value))
    return min(CELLS - 1, int((value - low) / (high - low) * CELLS))


def _within(part: Range, cell: int, rng: np.random.Generator) -> float:
    """A number of a cell."""
    if not part.log and (step := _step(part)):
        return part.low + cell * step
    low, high = (math.log(x) if part.log else x for x in (part.low, part.high))
    value = low + (cell + rng.random()) / CELLS * (high - low)
    value = math.exp(value) if part.log else value
    whole = isinstance(part.low, int) and isinstance(part.high, int)
    return min(part.high, max(part.low, round(value) if whole else value))
