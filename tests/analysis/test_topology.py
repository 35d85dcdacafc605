"""The shape of wirings that are known, against networkx; and what changed since the start."""

from __future__ import annotations

import networkx as nx
import pytest
import torch

import inn
from inn.analysis import topology
from inn.analysis.measures.topology import shape
from inn.nn.topology.edges import Edges
from inn.nn.topology.present import Present
from inn.system.errors import InputError


def test_a_random_graph_has_the_shape_that_networkx_says():
    graph = nx.gnp_random_graph(30, 0.12, seed=1, directed=True)
    found = shape(Present(Edges.listed([[i, *sorted(graph.predecessors(i))] for i in range(30)])))
    lengths = [n for _, to in nx.all_pairs_shortest_path_length(graph) for n in to.values() if n]
    assert (found.edges, found.itself) == (graph.number_of_edges() + 30, 30)
    assert found.density == pytest.approx(found.edges / 900)
    assert (found.diameter, found.distance) == (max(lengths), pytest.approx(sum(lengths) / len(lengths)))
    assert found.reached == pytest.approx(len(lengths) / 870)
    assert found.clustering == pytest.approx(nx.average_clustering(graph.to_undirected()))
    assert found.mutual == pytest.approx(nx.overall_reciprocity(graph))
    hearers = dict(graph.out_degree())
    mean = sum(hearers.values()) / 30
    assert (found.hearers.least, found.hearers.most) == (min(hearers.values()), max(hearers.values()))
    hubs = {n: k for n, k in hearers.items() if k > 1.5 * mean}
    assert found.hub_count == len(hubs) > 0
    assert found.hubs.items() <= hubs.items()


def test_a_dense_and_a_large_sparse_graph_cluster_alike():
    sources = [[(i + d) % 400 for d in (-2, -1, 0, 1, 2)] for i in range(400)]
    assert shape(Present(Edges.listed(sources))).clustering == pytest.approx(0.5)
    assert shape(Present(Edges.complete(12))).clustering == 1.0
    alone = shape(Present(Edges.complete(1)))
    assert (alone.diameter, alone.reached) == (0, 1.0)


def test_edges_that_moved_are_counted():
    graph = inn.Graph(neurons=8, width=4, topology="rewired", topology_options={"density": 0.5})
    assert (topology(graph).new, topology(graph).gone) == (0, 0)
    sources = graph.edge_sources
    assert isinstance(sources, torch.Tensor)
    unheard = next(n for n in range(8) if n not in sources[3].tolist())
    sources[3, -1] = unheard
    found = topology(graph)
    assert (found.new, found.gone) == (1, 1)
    assert found.before is not None
    assert found.before.edges == found.now.edges


def test_learned_wiring_is_compared_with_what_it_was_fitted_to():
    start = inn.Topology.signatures(8, like=nx.cycle_graph(8), width=8)
    graph = inn.Graph(neurons=8, width=4, topology=start)
    assert (topology(graph).now.edges, topology(graph).new) == (24, 0)
    with torch.no_grad():
        next(p for name, p in graph.named_parameters() if name == "wiring.signatures")[0] *= -1
    found = topology(graph)
    assert found.gone == 4
    random = topology(inn.Graph(neurons=8, width=4, topology="signatures"))
    assert random.before is None
    assert random.new is None


def test_a_model_without_neurons_is_refused():
    with pytest.raises(InputError, match="no graph of neurons"):
        topology(torch.nn.Linear(2, 2))
