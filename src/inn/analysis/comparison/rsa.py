"""How alike two populations are by what they tell apart: representational similarity over the same stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from inn.analysis.controls.shuffle import Null
from inn.config.typed import typed
from inn.system.errors import InputError

LEAST = 4
"""Stimuli that it takes: of three there are three pairs, and any order of those is likely by chance."""
Responses = Any
"""`[stimuli, ...]`, a tensor or an array: what units respond to each."""


@dataclass(frozen=True)
class Point:
    """A point of a curve: what a similarity is with so many units, or stimuli, drawn at random."""

    count: int
    mean: float
    low: float
    """The 2.5th percentile of the draws."""
    high: float
    """The 97.5th."""


@dataclass(frozen=True)
class Likeness:
    """How alike two populations are."""

    similarity: float
    """Spearman's correlation of how alike each two stimuli are, in one population and in the other; at most 1."""
    null: Null
    """Of the similarity: the stimuli of one population in random orders."""
    ceiling: float
    """What the second would reach with itself if it were known by all units there could be, not by these alone.

    √(2r / (1 + r)), r the similarity of two random halves of its units, on average (Spearman 1910): more than this is
    not to be had from a population that does not share these units.
    """


@typed
def rsa(
    ours: Responses,
    theirs: Responses,
    *,
    draws: int = 200,
    metric: Literal["cosine", "pearson"] = "cosine",
    seed: int = 0,
) -> Likeness:
    """Compare two populations by which stimuli are alike to them (Kriegeskorte et al. 2008; after arXiv 1911.07986).

    In each, the similarity of every two stimuli; then Spearman's correlation of both lists. Units need not correspond,
    nor be as many.

    Args:
        ours, theirs: `[stimuli, ...]` over the same stimuli, at least 4; what follows is taken as units.
        draws: random orders of the stimuli for the null, and halvings for the ceiling.
        metric: `cosine` of responses from which each unit's mean over the stimuli is taken, which is blind to any
            rotation, shift and scale; or `pearson` over the units, as the paper has it, which a rotation changes.
        seed: of the draws.

    Raises:
        InputError: for fewer than 4 stimuli, for populations that have not seen as many, and for numbers that are not
            finite.

    >>> x = np.random.default_rng(0).normal(size=(20, 30))
    >>> round(rsa(x, 3 * x[:, ::-1] + 1, draws=20).similarity, 6)
    1.0
    """
    a, b = _checked(ours, theirs)
    if draws < 1:
        raise InputError(f"draws must be at least 1, not {draws}")
    rng, pairs = np.random.default_rng(seed), np.triu_indices(len(a), 1)
    first, alike = _ranked(a, metric), likeness(b, metric)
    observed = _correlation(first, _standard(alike[pairs]))
    shuffled = []
    for _ in range(draws):
        order = rng.permutation(len(b))
        shuffled.append(_correlation(first, _standard(alike[np.ix_(order, order)][pairs])))
    halves = []
    for _ in range(draws if b.shape[1] > 1 else 0):
        order = rng.permutation(b.shape[1])
        one, other = (b[:, part] for part in np.array_split(order, 2))
        halves.append(_correlation(_ranked(one, metric), _ranked(other, metric)))
    half = max(0.0, float(np.mean(halves))) if halves else 0.0
    return Likeness(observed, Null.of(observed, shuffled), (2 * half / (1 + half)) ** 0.5)


@typed
def rsa_curve(
    ours: Responses,
    theirs: Responses,
    over: Literal["units", "stimuli"] = "units",
    *,
    counts: Sequence[int] = (),
    draws: int = 20,
    metric: Literal["cosine", "pearson"] = "cosine",
    seed: int = 0,
) -> list[Point]:
    """The similarity of `rsa` with fewer units of ours, or with fewer stimuli: has it settled at the full number?

    Args:
        ours, theirs: as in `rsa`.
        over: what is drawn at random, from ours (`units`) or from both (`stimuli`).
        counts: how many; when not given an eighth, a quarter, half and all.
        draws: for each count.
        metric, seed: as in `rsa`.

    Raises `InputError` as `rsa` does, and for counts that are not there (of stimuli: fewer than 4).

    >>> x = np.random.default_rng(0).normal(size=(20, 64))
    >>> [point.count for point in rsa_curve(x, x, draws=2)]
    [8, 16, 32, 64]
    """
    a, b = _checked(ours, theirs)
    whole, least = (a.shape[1], 1) if over == "units" else (len(a), LEAST)
    counts = list(counts) or sorted({max(least, whole // part) for part in (8, 4, 2, 1)})
    if bad := [n for n in counts if not least <= n <= whole]:
        raise InputError(f"a curve over {over} takes counts of {least} to {whole}, not {bad[0]}")
    rng, found = np.random.default_rng(seed), []
    for count in counts:
        values = []
        for _ in range(draws if count < whole else 1):
            at = rng.permutation(whole)[:count]
            one, other = (a[:, at], b) if over == "units" else (a[at], b[at])
            values.append(_correlation(_ranked(one, metric), _ranked(other, metric)))
        found.append(Point(count, float(np.mean(values)), *(float(v) for v in np.quantile(values, (0.025, 0.975)))))
    return found


@typed
def pseudo_depth(
    layers: Sequence[Responses] | Mapping[Any, Responses],
    theirs: Responses,
    *,
    metric: Literal["cosine", "pearson"] = "cosine",
) -> tuple[Any, dict[Any, float]]:
    """The layer of a network that a population is most like, and how alike each is (arXiv 1911.07986).

    Args:
        layers: responses of each layer, in a list or by name.
        theirs, metric: as in `rsa`.

    Raises `InputError` as `rsa` does, and without layers.

    >>> rng = np.random.default_rng(0)
    >>> layers = [rng.normal(size=(20, 8)) for _ in range(3)]
    >>> pseudo_depth(layers, layers[1])[0]
    1
    """
    named = dict(layers) if isinstance(layers, Mapping) else dict(enumerate(layers))
    if not named:
        raise InputError("pseudo_depth needs the responses of one layer or more; there are none")
    found = {}
    for name, layer in named.items():
        a, b = _checked(layer, theirs)
        found[name] = _correlation(_ranked(a, metric), _ranked(b, metric))
    return max(found, key=lambda name: found[name]), found


def likeness(responses: np.ndarray, metric: str = "cosine") -> np.ndarray:
    """How alike each two stimuli are, `[stimuli, stimuli]` in -1..1, of responses `[stimuli, units]` (see `rsa`).

    A stimulus that all units respond to as to the average is like no other: 0.

    >>> likeness(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])).tolist()
    [[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    x = responses - responses.mean(0 if metric == "cosine" else 1, keepdims=True)
    size = np.linalg.norm(x, axis=1, keepdims=True)
    seen = size > 1e-12 * np.linalg.norm(responses, axis=1, keepdims=True).max()
    x = np.divide(x, size, out=np.zeros_like(x), where=seen)
    return x @ x.T


def _ranked(responses: np.ndarray, metric: str) -> np.ndarray:
    """The ranks of all pairs of stimuli, as `_correlation` takes them."""
    alike = likeness(responses, metric)
    return _standard(alike[np.triu_indices(len(alike), 1)])


def _standard(values: np.ndarray) -> np.ndarray:
    """Ranks, ties shared, without their mean and of size 1; zeros where all are alike."""
    from scipy.stats import rankdata  # slow to import, and every training imports this package

    ranks = rankdata(np.round(values, 12))  # what is equal but for rounding stays so
    ranks -= ranks.mean()
    size = np.linalg.norm(ranks)
    return ranks / size if size else ranks


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b)


def _checked(ours: Responses, theirs: Responses) -> tuple[np.ndarray, np.ndarray]:
    a, b = (
        np.asarray(x.detach().cpu().double() if isinstance(x, Tensor) else x, dtype=np.float64) for x in (ours, theirs)
    )
    if min(a.ndim, b.ndim) < 2 or len(a) != len(b):
        raise InputError(
            f"populations are compared on [stimuli, units] of the same stimuli, not on {list(a.shape)} and "
            f"{list(b.shape)}"
        )
    if len(a) < LEAST:
        raise InputError(f"populations are compared on {LEAST} stimuli or more, not on {len(a)}; show them others, too")
    if not a.size or not b.size or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("populations are compared by responses that are finite numbers; these are not, or are none")
    return a.reshape(len(a), -1), b.reshape(len(b), -1)
