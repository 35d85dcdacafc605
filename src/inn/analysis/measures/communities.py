"""Groups of neurons that listen to one another more than to the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
from scipy import sparse
from torch import Tensor

from inn.analysis.controls.shuffle import Null
from inn.analysis.measures import sparse_communities as listed
from inn.analysis.measures.louvain import louvain
from inn.analysis.measures.sparse_communities import BALANCING, ratio
from inn.nn.connectivity import Connectivity
from inn.system.errors import InputError
from inn.system.packages import optional, require

Partition = list[list[int]]
Weights = Any
"""`[N_to, N_from]`, a matrix or a sparse array."""
LEIDEN = ("leidenalg", "igraph")
"""The packages of the method `leiden`."""
DRAWS, LARGE_DRAWS = 200, 29
"""Random graphs for the null, at most; of a large graph p = 1 / 30 has to do, which takes half a minute."""
LARGE = 256
"""Neurons above which a graph is large; one whose weights are a sparse array is, too."""
REACHED = 10
"""Random graphs of a large one as modular as it is, after which its p-value is decided."""


def communities(
    connectivity: Tensor | np.ndarray | Sequence[Sequence[float]] | Connectivity | sparse.sparray,
    seed: int = 0,
    *,
    draws: int | None = None,
    method: Literal["louvain", "leiden"] | None = None,
    report: Callable[[int, int], None] | None = None,
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

    Of a sparse graph nothing is made dense, and the null also keeps how many each neuron hears and is heard by.
    Random graphs of a large graph, one of more than 256 neurons or a sparse array, are drawn until the p-value is
    decided: when ten of them are as modular as it is, p is ten by the number drawn (Besag & Clifford 1991; exact, too),
    or at the bound.

    Args:
        connectivity: `[N_to, N_from]` weights >= 0; for several rounds give their mean. Or a recording's, whose rounds
            are averaged, or a sparse array of SciPy.
        seed: of the search and of the null.
        draws: random graphs for the null, at most; 200 when None, 29 of a large graph.
        method: Louvain (Blondel et al. 2008), or Leiden (Traag et al. 2019), which the packages leidenalg and igraph
            bring and which is then the default.
        report: called with (random graphs drawn, at most to be drawn).

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
    large = sparse.issparse(weights) or len(weights) > LARGE
    if method == "leiden":
        for package in LEIDEN:
            require(package, "method 'leiden'", "leiden")
    method = method or ("leiden" if all(map(optional, LEIDEN)) else "louvain")
    most = draws if draws is not None else LARGE_DRAWS if large else DRAWS
    groups = _search(method, weights, seed)
    observed = modularity(weights, groups)
    rng = np.random.default_rng(seed)
    shuffled, reached = [], 0
    for k in range(most if weights.sum() else 0):
        if report is not None:
            report(k, most)
        other = rewired(weights, rng)
        shuffled.append(modularity(other, _search(method, other, seed)))
        reached += shuffled[-1] >= observed - 1e-12
        if large and reached == REACHED:
            break
    if report is not None:
        report(most, most)
    null = Null.of(observed, shuffled)
    if large and reached == REACHED:
        null = replace(null, p=REACHED / len(shuffled))
    return {"groups": groups, "modularity": observed, "null": asdict(null), "method": method}


def modularity(weights: Weights, groups: Sequence[Sequence[int]]) -> float:
    """Q of these groups (see `communities`), at most 1; 0 for all in one group and for a graph without edges.

    Args:
        weights: `[N_to, N_from]` with zeros on the diagonal.
        groups: of all neurons.

    >>> two = np.kron(np.eye(2), np.ones((3, 3)) - np.eye(3))  # two triangles that do not know of each other
    >>> round(modularity(two, [[0, 1, 2], [3, 4, 5]]), 6)
    0.6
    """
    if sparse.issparse(weights):
        return listed.modularity(weights, groups)
    if not weights.any():
        return 0.0
    surplus = (weights - expected(weights)) / weights.sum()
    np.fill_diagonal(surplus, 0.0)
    return float(sum(surplus[np.ix_(group, group)].sum() for group in groups))


def expected(weights: np.ndarray) -> np.ndarray:
    """a_i b_j of `communities`, `[N, N]`: off the diagonal, the strengths of the graph and no other structure."""
    a, b = listed.balanced(weights.sum(1), weights.sum(0), weights.sum())
    return np.outer(a, b)


def rewired(weights: Weights, rng: np.random.Generator) -> Weights:
    """The null graph of `communities`: off-diagonal weights permuted, then brought back to the same strengths.

    The strengths are exact where enough edges are open; in a very sparse graph the last round of rescaling is kept,
    whose columns are exact.
    """
    if sparse.issparse(weights):
        return listed.rewired(weights, rng)
    off = ~np.eye(len(weights), dtype=bool)
    other = np.zeros_like(weights)
    other[off] = rng.permutation(weights[off])
    rows, columns = weights.sum(1), weights.sum(0)
    for _ in range(BALANCING):
        other *= ratio(rows, other.sum(1))[:, None]
        other *= ratio(columns, other.sum(0))
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
    table = _met(ours, theirs)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    together, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    every = pairs(np.array([table.sum()]))
    chance, best = (rows * columns / every if every else 0.0), (rows + columns) / 2
    return 1.0 if best == chance else (together - chance) / (best - chance)


def normalised_information(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> float:
    """The mutual information of two partitions of the same neurons over the mean of their entropies, 0 to 1.

    Unlike `agreement` it is above 0 by chance, more so for many small groups (Vinh et al. 2010): it takes a null.
    Two partitions of one group each are the same: 1.

    Raises `InputError` where the two are not partitions of the same neurons.

    >>> normalised_information([[0, 1], [2, 3]], [[0, 2], [1, 3]])
    0.0
    """
    table = _met(ours, theirs)
    table /= max(table.sum(), 1)

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    rows, columns = entropy(table.sum(1)), entropy(table.sum(0))
    shared = rows + columns - entropy(table.ravel())
    return max(0.0, 2 * shared / (rows + columns)) if rows + columns else 1.0


def _met(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> np.ndarray:
    """How many neurons each two groups of two partitions share; raises `InputError` for others than partitions."""
    a, b = ({n: g for g, group in enumerate(groups) for n in group} for groups in (ours, theirs))
    if a.keys() != b.keys() or any(len(of) != sum(map(len, groups)) for of, groups in ((a, ours), (b, theirs))):
        raise InputError("two partitions can be compared only if each has every neuron once; match the models first")
    table = np.zeros((len(ours), len(theirs)))
    for n in a:
        table[a[n], b[n]] += 1
    return table


def _checked(connectivity: Any) -> Weights:
    """The weights in float64, without what neurons hear of themselves."""
    if isinstance(connectivity, Connectivity):
        mean = connectivity.weights.detach().cpu().double().mean(0).numpy()
        if connectivity.sources is None:
            return _checked(mean)
        source = connectivity.sources.cpu().numpy()
        to = np.repeat(np.arange(len(source)), source.shape[1])
        return _checked(sparse.csr_array((mean.ravel(), (to, source.ravel())), shape=(len(source), len(source))))
    if sparse.issparse(connectivity):
        edges: Any = sparse.coo_array(connectivity).astype(np.float64)  # SciPy's types say less than it does
        edges.sum_duplicates()
        _check_square(edges.shape, edges.data)
        kept = (edges.row != edges.col) & (edges.data > 0)
        return sparse.csr_array((edges.data[kept], (edges.row[kept], edges.col[kept])), shape=edges.shape)
    given = connectivity.detach().cpu().numpy() if isinstance(connectivity, Tensor) else connectivity
    weights = np.array(given, dtype=np.float64)
    _check_square(weights.shape, weights)
    np.fill_diagonal(weights, 0.0)
    return weights


def _check_square(shape: tuple[int, ...], numbers: np.ndarray) -> None:
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise InputError(f"communities need weights of [to, from], as many to as from, not {list(shape)}")
    if not np.isfinite(numbers).all() or (numbers < 0).any():
        raise InputError("communities need weights that are finite and not below 0; these are not")


def _search(method: str, weights: Weights, seed: int) -> Partition:
    """Groups of high modularity; each neuron alone where nobody hears anybody.

    With a_i b_i on the diagonal, what the programs expect of two different neurons, (Σ_j w_ij) (Σ_i w_ij) / Σ w, is
    a_i b_j, and of the diagonal what is there: they maximise the modularity that is wanted.
    """
    if not weights.sum():
        return [[n] for n in range(weights.shape[0])]
    few = sparse.issparse(weights)
    filled = listed.filled(weights) if few else weights + np.diag(expected(weights).diagonal())
    groups = _leiden(filled, seed) if method == "leiden" else louvain(filled, seed)
    return sorted((sorted(int(n) for n in group) for group in groups), key=lambda group: (-len(group), group))


def _leiden(weights: Weights, seed: int):
    import igraph  # type: ignore[import-not-found]
    import leidenalg  # type: ignore[import-not-found]

    to, source = weights.nonzero()
    graph = igraph.Graph(weights.shape[0], list(zip(source.tolist(), to.tolist())), directed=True)
    by_modularity = leidenalg.ModularityVertexPartition
    of_edges = np.asarray(weights[to, source]).ravel().tolist()
    return leidenalg.find_partition(graph, by_modularity, weights=of_edges, n_iterations=-1, seed=seed)
