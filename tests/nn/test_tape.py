"""Routing of sparse graphs is recorded edge by edge: the numbers of a matrix, in room that grows with the edges."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.analysis import Connectivity, effective_degree, record, trace
from inn.nn import tape as tapes
from inn.nn.tape import Tape
from inn.nn.topology.edges import Edges, spread


def ring(neurons: int, heard: int) -> Edges:
    sources = (torch.arange(neurons)[:, None] + torch.arange(heard)) % neurons
    is_open = torch.ones(neurons, heard, dtype=torch.bool)
    is_open[1, 1] = False
    return Edges(sources, is_open)


def weights(edges: Edges, symbols: int = 5, heads: int = 2) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(1, symbols, heads, *edges.sources.shape, generator=draw)


def test_room_grows_with_the_edges():
    edges = ring(4096, 16)
    tape = Tape(("routing",))
    given = weights(edges, symbols=2, heads=1)
    for _ in range(2):
        tape.at(0, None).add_routing(given, edges)
    kept = [t.numel() for part in (tape._sums, tape._squares) for t in part.values()]
    assert kept == [4096 * 16] * 2
    found = tape.connectivity()
    assert found.weights.shape == (1, 4096, 16)
    assert found.received().shape == (4096,)
    torch.testing.assert_close(found.weights[0], given.double().mean((0, 1, 2)) * edges.open)


def test_edge_by_edge_is_what_the_matrix_is(monkeypatch: pytest.MonkeyPatch):
    edges = ring(300, 4)
    given = weights(edges)
    monkeypatch.setattr(tapes, "_NUMBERS", 2 * 300 * 4 * 2)  # several parts of a call
    tape = Tape(("routing",))
    tape.at(0, None).add_routing(given, edges)
    whole = spread(given[0].double(), edges)
    torch.testing.assert_close(tape.mean("routing")[0], whole.mean(0))
    torch.testing.assert_close(tape.variance("routing")[0], whole.var(0, correction=0))
    listed, matrix = tape.connectivity(), Connectivity(whole.mean((0, 1))[None], 5)
    assert listed.sources is edges.sources
    torch.testing.assert_close(listed.dense(), matrix.weights)
    torch.testing.assert_close(listed.received(), matrix.received())
    assert listed.hubs(1.1) == matrix.hubs(1.1)
    assert listed.specialists(0.9) == matrix.specialists(0.9)
    torch.testing.assert_close(effective_degree(listed.weights), effective_degree(matrix.weights))


def test_other_edges_make_it_a_matrix():
    one, other = ring(300, 4), ring(300, 5)
    tape = Tape(("routing",))
    for edges in (one, other, one):
        tape.at(0, None).add_routing(weights(edges, symbols=2, heads=1), edges)
    sums = sum(spread(weights(e, 2, 1)[0].double(), e).sum(0) for e in (one, other, one))
    torch.testing.assert_close(tape.mean("routing")[0], sums / 6)
    assert tape.connectivity().sources is None


@pytest.mark.parametrize("router", ["attention", "dendrites"])
def test_a_model_of_many_neurons_is_recorded_edge_by_edge(router: str):
    torch.manual_seed(0)
    graph = inn.Graph(
        neurons=260, width=4, rounds=1, router=router, topology="ring", topology_options={"neighbours": 2}
    )
    x = torch.randn(1, 3, 260 * 4)
    with record(graph, "routing") as tape:
        graph(x)
    with trace(graph, "routing") as kept:
        graph(x)
    found = tape.connectivity()
    assert found.sources is not None
    torch.testing.assert_close(found.dense(), tape.mean("routing").mean(1), rtol=1e-5, atol=1e-7)
    listed = kept.listed()
    assert listed is not None
    values, sources = listed
    assert values.shape[3:] == sources.shape == found.sources.shape
    root = kept.values("routing").double().square().mean(1).sqrt()
    mean = kept.values("routing").double().mean(1)
    torch.testing.assert_close(root if router == "dendrites" else mean, tape.mean("routing"), rtol=1e-5, atol=1e-6)


def test_of_few_neurons_it_is_a_matrix():
    edges = ring(8, 3)
    tape = Tape(("routing",))
    tape.at(0, None).add_routing(weights(edges), edges)
    assert tape.connectivity().sources is None
    assert tape.connectivity().weights.shape == (1, 8, 8)
