"""Wiring that is learned: signatures fitted to graphs, hard edges, and the gradient of those that are closed."""

from __future__ import annotations

import math
from typing import Any

import networkx
import pytest
import torch

import inn
from inn.nn.topology.edges import Edges
from inn.nn.topology.signatures import Wiring
from inn.registry import ROUTERS as ROUTER_KINDS
from inn.system.errors import InputError

ROUTERS = ["attention", "dendrites", "bus", "mixing", "static"]


def graph(router: Any = "attention", neurons: int = 8, **options) -> Any:
    torch.manual_seed(0)
    found = inn.Graph(
        neurons=neurons,
        width=4,
        rounds=2,
        router=router,
        topology="signatures",
        topology_options={"width": 8, **options},
    )
    with torch.no_grad():  # routers start silent
        for p in found.rounds.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return found


def pairs(found: Any) -> set[tuple[int, int]]:
    return {(to, source) for to, source in found.topology.edges() if to != source}


@pytest.mark.parametrize(
    "like",
    [
        networkx.planted_partition_graph(4, 4, 0.8, 0.1, seed=0),
        networkx.ring_of_cliques(4, 4),
        networkx.watts_strogatz_graph(16, 4, 0.2, seed=0),
        networkx.barabasi_albert_graph(16, 2, seed=0),
        networkx.erdos_renyi_graph(16, 0.2, seed=0),
    ],
)
def test_signatures_of_half_as_many_numbers_as_neurons_are_any_graph(like):
    topology = inn.Topology.signatures(16, like=like, width=8)
    made = inn.Graph(neurons=16, width=4, rounds=1, topology=topology)
    assert pairs(made) == {pair for u, v in like.edges for pair in ((u, v), (v, u))}
    assert made.topology.density == (2 * like.number_of_edges() + 16) / 256
    stored = inn.Graph(neurons=16, width=4, rounds=1, topology={**vars(topology)})  # as a configuration is read
    assert pairs(stored) == pairs(made)


def test_what_signatures_cannot_be_is_refused():
    for like, said in (
        (networkx.path_graph(3, create_using=networkx.DiGraph), "undirected"),
        (networkx.path_graph(5), "5 nodes"),
    ):
        with pytest.raises(InputError, match=said):
            inn.Topology.signatures(3, like=like)
    with pytest.raises(InputError, match="router 'workspace' gives them no gradient"):
        graph("workspace", 4)
    with pytest.raises(InputError, match="start has signatures of 1 neurons"):
        graph(start=[[1.0] * 8])


def test_edges_and_log_weights_are_those_of_the_formula():
    wiring = graph(epsilon=0.5).wiring
    assert isinstance(wiring, Wiring)
    with torch.no_grad():
        edges = wiring()
    s = wiring.signatures.detach().double()
    for i in range(8):
        d = [1 - float(s[i] @ s[j] / (s[i].norm() * s[j].norm())) for j in range(8)]
        total = sum(math.exp(-x / 0.5) for j, x in enumerate(d) if x < 0.8 or i == j)
        for j, x in enumerate(d):
            assert bool(edges.open[i, j]) == (x < 0.8)
            assert float(edges.log_weights[i, j]) == pytest.approx(-x / 0.5 - math.log(total), abs=1e-5)
    assert 8 < int(edges.open.sum()) < 64


def test_log_weights_are_added_to_the_logits_and_closed_edges_weigh_exactly_nothing():
    g = graph()
    router, x = g.round(0).router, torch.randn(1, 3, 8, 4)
    edges = g.wiring()
    with torch.no_grad(), inn.record(g, "routing") as tape:
        g.run(x)
    assert not tape.connectivity().weights[:, ~edges.open].any()
    q, k, v = (m(x).unflatten(-1, (4, 1)) for m in (router.query, router.key, router.value))
    logits = torch.einsum("btihd,btjhd->bthij", q, k) + edges.log_weights
    weights = logits.masked_fill(~edges.open, -torch.inf).softmax(-1)
    message = router.out(torch.einsum("bthij,btjhd->btihd", weights, v).flatten(-2))
    torch.testing.assert_close(router(x, edges=edges)[0], message)


def test_every_router_gives_signatures_a_gradient_or_refuses_them():
    refused = {}
    kinds = [(kind, {}) for kind in ROUTER_KINDS if kind != "none"]
    kinds += [("attention", {"activation": a}) for a in ("sigmoid", "relu2", "stick", "fourier")]
    kinds += [("attention", {"sink": True}), ("attention", {"lag": 1}), ("dendrites", {"lag": 1}), ("bus", {"lag": 1})]
    for kind, options in kinds:
        try:
            g = graph({"kind": kind, **options})
        except InputError as error:
            refused[options.get("activation", kind)] = str(error)
            continue
        g(torch.randn(2, 5, 32))[0].square().sum().backward()
        grad = g.wiring.signatures.grad
        assert grad is not None, (kind, options)
        assert bool((grad != 0).all()), (kind, options)
    assert set(refused) == {"mixture", "workspace", "stick", "fourier"}
    assert all("no gradient; use" in said for said in refused.values())


CHOICES = [*ROUTERS, *({"kind": "attention", **o} for o in ({"activation": "sigmoid"}, {"sink": True}))]


@pytest.mark.parametrize("router", CHOICES)
def test_closed_edges_have_a_gradient_and_carry_nothing(router):
    g = graph(router)
    edges = g.wiring()
    weights = edges.log_weights.detach().requires_grad_()
    learned = Edges(edges.sources, edges.open, log_weights=weights)
    r = g.round(0).router
    x = torch.randn(2, 5, 8, 4)
    message = r(x, edges=learned)[0]
    message.square().sum().backward()
    assert bool((weights.grad[~edges.open] != 0).all())
    changed = x.clone()
    to, source = (~edges.open).nonzero()[0].tolist()
    changed[:, :, source] += 1
    torch.testing.assert_close(r(changed, edges=learned)[0][:, :, to], message[:, :, to])
    plain = Edges(edges.sources, edges.open, log_weights=edges.log_weights.detach())
    torch.testing.assert_close(r(x, edges=plain)[0], message)


@pytest.mark.parametrize("options", [{}, {"activation": "sigmoid"}, {"activation": "relu2"}, {"sink": True}])
def test_the_gradient_of_a_closed_edge_is_that_of_opening_it(options):
    """A factor m on e^l, 0 or 1: the straight-through gradient of a closed edge is the derivative by m at 0."""
    g = graph({"kind": "attention", **options})
    edges, r, x = g.wiring(), g.double().round(0).router, torch.randn(1, 2, 8, 4, dtype=torch.float64)
    weights = edges.log_weights.detach().double().requires_grad_()
    to, source = (~edges.open).nonzero()[0].tolist()
    r(x, edges=Edges(edges.sources, edges.open, log_weights=weights))[0].square().sum().backward()
    found, h = [], 1e-6
    opened = edges.open.clone()
    opened[to, source] = True
    for m in (h, None):
        lw = weights.detach().clone()
        lw[to, source] += math.log(m) if m else 0
        at = Edges(edges.sources, opened if m else edges.open, log_weights=lw)
        found.append(float(r(x, edges=at)[0].detach().square().sum()))
    assert float(weights.grad[to, source]) == pytest.approx((found[0] - found[1]) / h, rel=1e-3)


def test_training_moves_edges_frozen_signatures_stay_and_a_lesion_is_on_top():
    x = torch.randn(4, 6, 32, generator=torch.Generator().manual_seed(3))
    for frozen in (False, True):
        g = graph(frozen=frozen)
        before = g.topology.edges()
        optimizer = torch.optim.Adam([p for p in g.parameters() if p.requires_grad], 0.1)
        for _ in range(20):
            optimizer.zero_grad()
            (g(x)[0] - x.roll(4, -1)).square().mean().backward()
            optimizer.step()
        assert (g.topology.edges() == before) == frozen
        other = graph(frozen=frozen)
        other.load_state_dict(g.state_dict())
        assert other.topology.edges() == g.topology.edges()
    to, source = next(iter(pairs(g)))
    cut = Edges.complete(8).close([(to, source)])
    with torch.no_grad(), inn.record(g, "routing") as tape:
        g(x, edges=cut)
    assert not tape.connectivity().weights[:, to, source].any()


def test_draws_are_of_training_and_follow_the_seed():
    g = graph(draws=True)
    with torch.no_grad():
        torch.manual_seed(1)
        drawn = [g.wiring().open for _ in range(200)]
        torch.manual_seed(1)
        again = g.wiring().open
    assert torch.equal(drawn[0], again)
    assert not torch.equal(drawn[0], drawn[1])
    share, s = torch.stack(drawn).float().mean(0), torch.nn.functional.normalize(g.wiring.signatures.detach(), dim=-1)
    expected = torch.sigmoid(10 * (0.8 - (1 - s @ s.T))).fill_diagonal_(1.0)
    assert float((share - expected).abs().max()) < 0.15
    g.eval()
    assert torch.equal(g.wiring().open, g.wiring().open)


def test_a_graph_tells_its_edges():
    ring = inn.Graph(neurons=5, width=4, rounds=1, topology="ring").topology
    assert (ring.neurons, ring.number, ring.density) == (5, 15, 0.6)
    assert ring.edges()[:3] == [(0, 0), (0, 1), (0, 4)]
    assert ring.heard.tolist() == ring.hearers.tolist() == [3] * 5
    star = inn.Graph(
        neurons=3, width=4, rounds=1, topology="edges", topology_options={"edges": [[1, 0], [2, 0]]}
    ).topology
    assert star.heard.tolist() == [1, 2, 2]
    assert star.hearers.tolist() == [3, 1, 1]
    assert inn.Graph(neurons=3, width=4, rounds=1).topology.density == 1.0
