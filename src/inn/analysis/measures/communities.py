"""Groups of neurons that listen to one another more than to the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from torch import Tensor

from inn.analysis.controls.shuffle import Null
from inn.system.errors import InputError
from inn.system.packages import optional, require

Partition = list[list[int]]
LEIDEN = ("leidenalg", "igraph")
"""The packages of the method `leiden`."""
_BALANCING = 200
"""Rounds of rescaling that give shuffled weights the strengths of the graph; most graphs need fewer than twenty."""


def communities(
    connectivity: Tensor | np.ndarray | Sequence[Sequence[float]],
    seed: int = 0,
    *,
    draws: int = 200,
    method: Literal["louvain", "leiden"] | None = None,
) -> dict[str, Any]:
    """Find communities of neurons, and how much more modular they are than chance makes them.

    The graph is directed and weighted, w_ij what i hears of j; what a neuron hears of itself is left out. Communities
    maximise the modularity

        Q = Σ_{i≠j} (w_ij - a_i b_j) [i and j in one group] / Σ_{i≠j} w_ij

    where a_i b_j is what chance gives: factors such that each neuron hears, and is heard, as much as it is in fact.
    This is the modularity of Leicht & Newman (2008, eq. 4) but for chance, which for them includes hearing oneself:
    among few neurons that expects too much of the others, and finds no groups where there are some.

    Some modularity is found in any graph. The null has the same strengths and no groups: the off-diagonal weights are
    dealt out anew at random, then rows and columns are rescaled in turn until each neuron hears and is heard as much as
    before (Sinkhorn). So a hub alone is no community.

    Args:
        connectivity: `[N_to, N_from]` weights >= 0; for several rounds give their mean.
        seed: of the search and of the null.
        draws: random graphs for the null.
        method: Louvain (Blondel et al. 2008), or Leiden (Traag et al. 2019), which the packages leidenalg and igraph
            bring and which is then the default.

    Returns:
        `groups` (lists of neurons, the largest first), `modularity`, `null` (`observed`, `mean`, `high` = 95th
        percentile, and `p`, as in `inn.analysis.Null`) and the `method`. Without any edge each neuron is a group.

    Raises:
        InputError: for weights that are not square, negative or not finite, and for a method that is not installed.

    >>> pairs = [[0.5, 0.4, 0.1, 0.0], [0.4, 0.5, 0.0, 0.1], [0.1, 0.0, 0.5, 0.4], [0.0, 0.1, 0.4, 0.5]]
    >>> communities(pairs, draws=20)["groups"]
    [[0, 1], [2, 3]]
    """
    weights = _checked(connectivity)
    if method == "leiden":
        for package in LEIDEN:
            require(package, "method 'leiden'", "leiden")
    method = method or ("leiden" if all(map(optional, LEIDEN)) else "louvain")
    groups = _search(method, weights, seed)
    observed = modularity(weights, groups)
    rng = np.random.default_rng(seed)
    shuffled = []
    for _ in range(draws if weights.any() else 0):
        other = rewired(weights, rng)
        shuffled.append(modularity(other, _search(method, other, seed)))
    null = Null.of(observed, shuffled) if shuffled else Null(observed, 0.0, 0.0, 1.0)
    return {"groups": groups, "modularity": observed, "null": asdict(null), "method": method}


def modularity(weights: np.ndarray, groups: Sequence[Sequence[int]]) -> float:
    """Q of these groups (see `communities`), at most 1; 0 for all in one group and for a graph without edges.

    Args:
        weights: `[N_to, N_from]` with zeros on the diagonal.
        groups: of all neurons.

    >>> two = np.kron(np.eye(2), np.ones((3, 3)) - np.eye(3))  # two triangles that do not know of each other
    >>> round(modularity(two, [[0, 1, 2], [3, 4, 5]]), 6)
    0.6
    """
    if not weights.any():
        return 0.0
    surplus = (weights - expected(weights)) / weights.sum()
    np.fill_diagonal(surplus, 0.0)
    return float(sum(surplus[np.ix_(group, group)].sum() for group in groups))


def expected(weights: np.ndarray) -> np.ndarray:
    """a_i b_j of `communities`, `[N, N]`: off the diagonal, the strengths of the graph and no other structure."""
    rows, columns = weights.sum(1), weights.sum(0)
    a, b = rows.copy(), _ratio(columns, np.full(len(weights), weights.sum()))
    for _ in range(_BALANCING):
        before = a
        a = _ratio(rows, b.sum() - b)
        b = _ratio(columns, a.sum() - a)
        if np.allclose(a, before, rtol=1e-12, atol=0):
            break
    return np.outer(a, b)


def rewired(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The null graph of `communities`: off-diagonal weights permuted, then brought back to the same strengths.

    The strengths are exact where enough edges are open; in a very sparse graph the last round of rescaling is kept,
    whose columns are exact.
    """
    off = ~np.eye(len(weights), dtype=bool)
    other = np.zeros_like(weights)
    other[off] = rng.permutation(weights[off])
    rows, columns = weights.sum(1), weights.sum(0)
    for _ in range(_BALANCING):
        other *= _ratio(rows, other.sum(1))[:, None]
        other *= _ratio(columns, other.sum(0))
        if np.allclose(other.sum(1), rows, rtol=1e-9, atol=0):
            break
    return other


def agreement(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> float:
    """How far two partitions of the same neurons agree: the adjusted Rand index (Hubert & Arabie 1985, eq. 5).

    1 = the same groups, 0 = what chance gives groups of these sizes; below 0 is less than that.

    Raises `InputError` where the two are not partitions of the same neurons.

    >>> agreement([[0, 1], [2, 3]], [[2, 3], [0, 1]])
    1.0
    """
    a, b = ({n: g for g, group in enumerate(groups) for n in group} for groups in (ours, theirs))
    if a.keys() != b.keys() or any(len(of) != sum(map(len, groups)) for of, groups in ((a, ours), (b, theirs))):
        raise InputError("two partitions can be compared only if each has every neuron once; match the models first")
    table = np.zeros((len(ours), len(theirs)))
    for n in a:
        table[a[n], b[n]] += 1

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    together, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    every = pairs(np.array([len(a)]))
    chance, best = (rows * columns / every if every else 0.0), (rows + columns) / 2
    return 1.0 if best == chance else (together - chance) / (best - chance)


def _checked(connectivity: Tensor | np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    """The weights in float64, without what neurons hear of themselves."""
    given = connectivity.detach().cpu().numpy() if isinstance(connectivity, Tensor) else connectivity
    weights = np.array(given, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or not weights.size:
        raise InputError(f"communities need weights of [to, from], as many to as from, not {list(weights.shape)}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError("communities need weights that are finite and not below 0; these are not")
    np.fill_diagonal(weights, 0.0)
    return weights


def _ratio(wanted: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.divide(wanted, there, out=np.zeros_like(wanted), where=there > 0)


def _search(method: str, weights: np.ndarray, seed: int) -> Partition:
    """Groups of high modularity; each neuron alone where nobody hears anybody.

    With a_i b_i on the diagonal, what the programs expect of two different neurons, (Σ_j w_ij) (Σ_i w_ij) / Σ w, is
    a_i b_j, and of the diagonal what is there: they maximise the modularity that is wanted.
    """
    if not weights.any():
        return [[n] for n in range(len(weights))]
    filled = weights + np.diag(expected(weights).diagonal())
    groups = _leiden(filled, seed) if method == "leiden" else _louvain(filled, seed)
    return sorted((sorted(int(n) for n in group) for group in groups), key=lambda group: (-len(group), group))


def _louvain(weights: np.ndarray, seed: int):
    import networkx as nx

    graph = nx.from_numpy_array(weights.T, create_using=nx.DiGraph)  # networkx: from row to column
    return nx.community.louvain_communities(graph, seed=seed)


def _leiden(weights: np.ndarray, seed: int):
    import igraph  # type: ignore[import-not-found]
    import leidenalg  # type: ignore[import-not-found]

    to, source = weights.nonzero()
    graph = igraph.Graph(len(weights), list(zip(source.tolist(), to.tolist())), directed=True)
    by_modularity = leidenalg.ModularityVertexPartition
    of_edges = weights[to, source].tolist()
    return leidenalg.find_partition(graph, by_modularity, weights=of_edges, n_iterations=-1, seed=seed)
