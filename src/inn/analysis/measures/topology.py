"""What the wiring of a graph is: edges, degrees, hubs, distances and clustering; and what it was when it began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import shortest_path
from torch import nn

from inn.config.typed import typed
from inn.nn.graph import Graph
from inn.nn.topology.base import edges_of, wiring_of
from inn.nn.topology.edges import Edges
from inn.nn.topology.present import Present
from inn.system.errors import InputError

HUB = 1.5
"""Times the average number of hearers, from which on a neuron is a hub."""
LISTED = 10
_ROWS = 256


@dataclass(frozen=True)
class Degrees:
    """How many a neuron hears, or is heard by, over all neurons; itself is not counted."""

    least: int
    mean: float
    most: int


@dataclass(frozen=True)
class Shape:
    """The shape of a graph. Edges from a neuron to itself are counted in `edges` and `density`, and nowhere else."""

    edges: int
    itself: int
    """Edges from a neuron to itself."""
    density: float
    """Share of the edges of the complete graph."""
    heard: Degrees
    hearers: Degrees
    hubs: dict[int, int]
    """Neurons that more than 1.5 times as many hear as the average, and how many do: the ten with most."""
    hub_count: int
    diameter: int
    """Steps from one neuron to another along edges, the most there are where there is a way."""
    reached: float
    """Share of the pairs of neurons that have a way from the one to the other."""
    distance: float
    """The mean of those ways, in steps."""
    clustering: float
    """How many of the pairs of a neuron's neighbours are neighbours themselves, on average; directions left out."""
    mutual: float
    """Share of the edges that also lead back."""


@dataclass(frozen=True)
class Wired:
    """The wiring of a graph now, and at the start.

    Attributes:
        kind: of the topology.
        now: its shape.
        before: that of the edges that its configuration begins with; None where they cannot be known again (a
            different number of neurons, or signatures that began at random).
        new, gone: edges that are there now and were not, and the other way round; None without `before`.
    """

    kind: str
    neurons: int
    now: Shape
    before: Shape | None
    new: int | None
    gone: int | None


@typed
def topology(model: nn.Module) -> Wired:
    """Tell the wiring of a model's graph: its shape, and what learning or rewiring changed since the start.

    Raises `InputError` for a model without a graph of neurons.

    >>> from inn import INN
    >>> found = topology(INN(vocab=5, neurons=6, width=4, topology="ring", topology_options={"neighbours": 2}))
    >>> found.now.edges, found.now.diameter, found.new
    (18, 3, 0)
    """
    graph = next((m for m in model.modules() if isinstance(m, Graph)), None)
    if graph is None:
        raise InputError(f"a {type(model).__name__} has no graph of neurons; give an INN or a Graph")
    now = graph.topology
    first = at_start(graph)
    matrix = _matrix(now)
    if first is None:
        return Wired(graph.config.topology.kind, now.neurons, shape(now), None, None, None)
    was = _matrix(first)
    both = int(matrix.multiply(was).sum())
    same = matrix.nnz == was.nnz == both
    told = _shape(matrix)
    before = told if same else _shape(was)
    return Wired(graph.config.topology.kind, now.neurons, told, before, int(matrix.nnz) - both, int(was.nnz) - both)


def shape(present: Present) -> Shape:
    """The shape of the edges that there are."""
    return _shape(_matrix(present))


def _shape(matrix: Any) -> Shape:
    neurons = matrix.shape[0]
    itself = int(matrix.diagonal().sum())
    others = sparse.csr_array(matrix - sparse.diags_array(matrix.diagonal(), dtype=matrix.dtype))
    others.eliminate_zeros()
    heard, hearers = np.asarray(others.sum(1)), np.asarray(others.sum(0))
    hubs = np.nonzero(hearers > HUB * hearers.mean())[0]
    loudest = hubs[np.argsort(-hearers[hubs], kind="stable")][:LISTED]
    diameter, ways, total = _ways(others)
    pairs = neurons * (neurons - 1)
    back = int(others.multiply(others.T).sum())
    return Shape(
        edges=int(matrix.nnz),
        itself=itself,
        density=matrix.nnz / neurons**2,
        heard=_degrees(heard),
        hearers=_degrees(hearers),
        hubs={int(n): int(hearers[n]) for n in loudest},
        hub_count=len(hubs),
        diameter=diameter,
        reached=ways / pairs if pairs else 1.0,
        distance=total / ways if ways else 0.0,
        clustering=_clustering(others),
        mutual=back / others.nnz if others.nnz else 0.0,
    )


def at_start(graph: Graph) -> Present | None:
    """The edges that a graph of this configuration begins with; None where they cannot be known again (see `Wired`)."""
    config = graph.config
    if graph.wiring is not None:
        if not getattr(config.topology, "start", None):
            return None
        with torch.random.fork_rng(devices=()), torch.no_grad():
            wiring = wiring_of(config)
            assert wiring is not None
            return Present(wiring.eval()())
    edges = edges_of(config)
    edges = Edges.complete(config.neurons) if edges is None else edges
    return Present(edges) if len(edges.sources) == len(graph.ids) else None


def _matrix(present: Present) -> sparse.csr_array:
    """`[N_to, N_from]`: 1 where an edge is open."""
    to, slot = present.of.open.cpu().nonzero(as_tuple=True)
    place = (to.numpy(), present.of.sources.cpu()[to, slot].numpy())
    matrix = sparse.csr_array((np.ones(len(to), np.int64), place), shape=(present.neurons, present.neurons))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _degrees(counts: np.ndarray) -> Degrees:
    return Degrees(int(counts.min()), float(counts.mean()), int(counts.max()))


def _ways(others: Any) -> tuple[int, int, float]:
    """The longest of the shortest ways, how many ways there are, and their steps in all; some rows at a time."""
    neurons, longest, ways, total = others.shape[0], 0, 0, 0.0
    if others.nnz == neurons * (neurons - 1):
        return min(1, neurons - 1), others.nnz, float(others.nnz)
    for at in range(0, neurons, _ROWS):
        rows = np.arange(at, min(at + _ROWS, neurons))
        steps = shortest_path(others, unweighted=True, indices=rows)
        there = np.isfinite(steps) & (steps > 0)
        ways += int(there.sum())
        total += float(steps[there].sum())
        longest = max(longest, int(steps[there].max(initial=0)))
    return longest, ways, total


def _clustering(others: Any) -> float:
    """The mean over neurons; one with fewer than two neighbours counts 0."""
    either: Any = sparse.csr_array(((others + others.T) > 0).astype(np.float64))
    degree = np.asarray(either.sum(1))
    if either.nnz > 0.05 * either.shape[0] ** 2:  # a product of matrices is faster
        whole = torch.from_numpy(either.toarray()).float()
        closed = ((whole @ whole) * whole).sum(1).double().numpy()
    else:
        closed = np.asarray((either @ either).multiply(either).sum(1)).ravel()
    pairs = degree * (degree - 1)
    return float(np.divide(closed, pairs, out=np.zeros_like(closed), where=pairs > 0).mean())
