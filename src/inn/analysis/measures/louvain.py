"""Louvain's search for groups of high modularity, in arrays: a thousand neurons take a second or less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

ENOUGH, SHARE = 1e-7, 0.03
"""A level that adds less modularity is the last one; a sweep that adds less than that, or this share of all before."""


def louvain(weights: Any, seed: int = 0) -> list[list[int]]:
    """Groups of a directed graph, by local moves and merging (Blondel et al. 2008).

    Maximised is Σ (w_ij - r_i c_j / W) / W over i and j in one group, r_i what i hears in all, c_j what is heard of j,
    W all there is (Leicht & Newman 2008). Neurons are visited in a random order, again and again, and each joins the
    group of the largest gain, while there is any; then every group is a neuron of the next level. When nothing is left
    to merge, the first neurons may move once more.

    Args:
        weights: `[N_to, N_from]` >= 0, a matrix or a sparse array, what is on the diagonal included.
        seed: of the orders in which neurons are visited.

    >>> louvain(np.kron(np.eye(2), np.ones((3, 3))))
    [[0, 1, 2], [3, 4, 5]]
    """
    rng, total = np.random.default_rng(seed), weights.sum()
    heard, told = (np.asarray(weights.sum(axis), float).ravel() / total for axis in (1, 0))
    both = (sparse.csr_array(weights + weights.T) if sparse.issparse(weights) else weights + weights.T) / total
    level, group = (both, heard, told), np.arange(len(heard))
    while True:
        label, gained = _moved(*level, np.arange(len(level[1])), rng)
        group = label[group]
        if gained < ENOUGH:
            break
        level = _joined(level[0], label), np.bincount(label, level[1]), np.bincount(label, level[2])
    group, _ = _moved(both, heard, told, group, rng)
    return [np.flatnonzero(group == g).tolist() for g in range(group.max() + 1)]


def _moved(
    both: Any, heard: np.ndarray, told: np.ndarray, label: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """The group of each neuron after local moves, without gaps, and how much modularity they gained."""
    towards, itself, gained = _towards(both), both.diagonal().tolist(), 0.0
    while True:
        before = gained
        label = np.unique(label, return_inverse=True)[1]
        of_heard, of_told = np.bincount(label, heard), np.bincount(label, told)
        for n in rng.permutation(len(label)).tolist():
            g, r, c = label[n], heard[n], told[n]
            of_heard[g] -= r
            of_told[g] -= c
            gain = towards(n, label, len(of_heard)) - r * of_told - c * of_heard
            gain[g] -= itself[n]  # what it hears of itself goes wherever it goes
            best = gain.argmax()
            if gain[best] > gain[g] + 1e-12:
                gained += float(gain[best] - gain[g])
                label[n] = g = best
            of_heard[g] += r
            of_told[g] += c
        if gained - before < max(ENOUGH, SHARE * gained):
            return np.unique(label, return_inverse=True)[1], gained


def _towards(both: Any) -> Callable[[int, np.ndarray, int], np.ndarray]:
    """What a neuron shares with each of so many groups."""
    if not sparse.issparse(both):
        return lambda n, label, groups: np.bincount(label, both[n], groups)
    begins, to, data = both.indptr.tolist(), both.indices, both.data

    def listed(n: int, label: np.ndarray, groups: int) -> np.ndarray:
        a, b = begins[n], begins[n + 1]
        return np.bincount(label[to[a:b]], data[a:b], groups)

    return listed


def _joined(both: Any, label: np.ndarray) -> Any:
    """The same between groups."""
    neurons = np.arange(len(label))
    member = sparse.csr_array((np.ones(len(label)), (label, neurons)), shape=(label.max() + 1, len(label)))
    return member @ both @ member.T
