"""Communities of large graphs whose edges are few: what `communities` asks of a matrix, asked of a list of edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

BALANCING = 200
"""Rounds of rescaling that give shuffled weights the strengths of the graph; most graphs need fewer than twenty."""

_SWAPS = 100
"""Rounds in which what came out as an edge to oneself, or twice, is exchanged with another."""


def factors(weights: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """a and b `[N]` such that Σ_{j≠i} a_i b_j and Σ_{i≠j} a_i b_j are what i hears and how j is heard."""
    return balanced(weights.sum(1), weights.sum(0), float(weights.sum()))


def balanced(rows: np.ndarray, columns: np.ndarray, total: float) -> tuple[np.ndarray, np.ndarray]:
    """The same from the strengths: what each neuron hears, and how much it is heard."""
    a, b = rows.copy(), ratio(columns, np.full(len(rows), total))
    for _ in range(BALANCING):
        before = a
        a = ratio(rows, b.sum() - b)
        b = ratio(columns, a.sum() - a)
        if np.allclose(a, before, rtol=1e-12, atol=0):
            break
    return a, b


def modularity(weights: sparse.csr_array, groups: Sequence[Sequence[int]]) -> float:
    """Q of these groups: what is heard inside of them, less what chance gives."""
    if not weights.nnz:
        return 0.0
    a, b = factors(weights)
    label = np.empty(len(a), np.int64)
    for g, group in enumerate(groups):
        label[list(group)] = g
    edges = weights.tocoo()
    inside = edges.data[label[edges.row] == label[edges.col]].sum()
    chance = (np.bincount(label, a) * np.bincount(label, b)).sum() - (a * b).sum()
    return float((inside - chance) / weights.sum())


def rewired(weights: sparse.csr_array, rng: np.random.Generator) -> sparse.csr_array:
    """The same graph with its edges' sources dealt out anew: each neuron hears, and is heard by, as many as before.

    What a neuron hears keeps its weights; rescaling brings back how much each is heard.
    """
    edges: Any = weights.tocoo()  # SciPy's types say less than it does
    neurons = edges.shape[0]
    to, source, data = edges.row.astype(np.int64), rng.permutation(edges.col).astype(np.int64), edges.data.copy()
    for _ in range(_SWAPS):
        key = to * neurons + source
        order = np.argsort(key, kind="stable")
        bad = to == source
        bad[order[1:]] |= key[order[1:]] == key[order[:-1]]  # the second of two alike
        wrong = bad.nonzero()[0]
        if not len(wrong):
            break
        for k, other in zip(wrong, rng.integers(len(to), size=len(wrong))):
            source[k], source[other] = source[other], source[k]
    rows, columns = weights.sum(1), weights.sum(0)
    for _ in range(BALANCING):
        data *= ratio(rows, np.bincount(to, data, neurons))[to]
        data *= ratio(columns, np.bincount(source, data, neurons))[source]
        if np.allclose(np.bincount(to, data, neurons), rows, rtol=1e-9, atol=0):
            break
    return sparse.csr_array((data, (to, source)), shape=weights.shape)


def filled(weights: sparse.csr_array) -> sparse.csr_array:
    """With a_i b_i on the diagonal, by which the usual programs maximise the modularity that is wanted."""
    a, b = factors(weights)
    return sparse.csr_array(weights + sparse.diags_array(a * b))


def ratio(wanted: np.ndarray, there: np.ndarray) -> np.ndarray:
    """wanted / there, 0 where nothing is there."""
    return np.divide(wanted, there, out=np.zeros_like(wanted), where=there > 0)
