"""Attention beside a softmax: formulas, parameters, listed sources as the dense graph, who is absent, training."""

import math

import networkx
import pytest
import torch

import inn
from inn.nn.tape import Tape
from inn.nn.topology.edges import Edges
from inn.registry import ROUTERS
from inn.system.errors import InputError
from inn.testing import check_router

KINDS = ({"activation": "sigmoid"}, {"activation": "relu2"}, {"activation": "stick"}, {"activation": "fourier"},
         {"sink": True})  # fmt: skip


def router(topology="complete", **options):
    torch.manual_seed(0)
    config = inn.graph_config(
        neurons=4, width=8, router={"kind": "attention", "heads": 2, "zero_start": False, **options}, topology=topology
    )
    return ROUTERS["attention"](config).double().eval()


def x():
    torch.manual_seed(1)
    return torch.randn(2, 3, 4, 8, dtype=torch.float64)


def recorded(r, edges=None, **more):
    with torch.no_grad():
        tape = Tape(("routing",))
        message, _ = r(x()[:1, :1], edges=edges, tape=tape.at(0, None), **more)
    return tape.mean("routing")[0], message


def logits(r):
    q, k = (m(x()[:1, :1])[0, 0].unflatten(-1, (2, 4)) for m in (r.query, r.key))
    return torch.einsum("nhd,khd->hnk", q, k) / 2


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_keeps_the_contract_of_a_router(options):
    check_router("attention", **options)


def test_what_each_makes_of_its_logits():
    r = router(activation="sigmoid")
    torch.testing.assert_close(recorded(r)[0], torch.sigmoid(logits(r) - math.log(4)))
    r = router(activation="relu2")
    torch.testing.assert_close(recorded(r)[0], logits(r).relu() ** 2 / 4)
    r = router(activation="stick")
    p = torch.sigmoid(logits(r))
    for j in range(4):
        expected = p[..., j] * (1 - p[..., j + 1 :]).prod(-1)
        torch.testing.assert_close(recorded(r)[0][..., j], expected)
    torch.testing.assert_close(recorded(r)[0].sum(-1), 1 - (1 - p).prod(-1))
    r = router(sink=True)
    torch.nn.init.normal_(r.activation.sink)
    shares = torch.cat((logits(r), r.activation.sink[:, None, None].expand(-1, 4, 1)), -1).softmax(-1)
    torch.testing.assert_close(recorded(r)[0], shares[..., :-1])
    r = router(activation="fourier", fourier_terms=2, fourier_rank=3)
    z, own = logits(r), r.activation
    expected = torch.zeros_like(z)
    for h in range(2):
        for p in range(3):
            phi = sum(
                own.waves[0, h, p, q, m] * torch.cos((m + 1) * z[h, :, q])
                + own.waves[1, h, p, q, m] * torch.sin((m + 1) * z[h, :, q])
                for q in range(4)
                for m in range(2)
            )
            expected[h] += phi[:, None] * own.mix[h, :, p]
    torch.testing.assert_close(recorded(r)[0], expected)


def test_parameters_are_as_many_as_the_formula_says():
    plain = sum(p.numel() for p in router().parameters())
    n, r, terms, heads = 4, 12, 3, 2
    found = sum(p.numel() for p in router(activation="fourier").parameters()) - plain
    assert found == heads * (2 * terms * r * n + n * r)
    assert sum(p.numel() for p in router(sink=True).parameters()) - plain == heads
    assert all(
        sum(p.numel() for p in router(activation=a).parameters()) == plain for a in ("sigmoid", "relu2", "stick")
    )


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_listed_sources_give_what_all_do(options):
    dense, everyone = router(**options), Edges.complete(4)
    listed = router(inn.Topology.from_graph(networkx.complete_graph(4)), **options)
    assert listed.sparse
    listed.load_state_dict(dense.state_dict())
    for edges in (everyone, everyone.close([(0, 1), (2, 3)])):
        present = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(2)) > 0.3
        for there in (None, present):
            given = x().requires_grad_()
            one, other = dense(given, edges=edges, present=there)[0], listed(given, edges=edges, present=there)[0]
            torch.testing.assert_close(one, other)
            grads = [torch.autograd.grad(y.square().sum(), given, retain_graph=True)[0] for y in (one, other)]
            torch.testing.assert_close(*grads)
            assert bool(grads[0].isfinite().all())


def test_a_stick_is_broken_in_the_order_of_indices_however_sources_are_listed():
    r = router(activation="stick")
    mixed = Edges.listed([[2, 0, 3, 1], [1, 0, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]])
    r.sparse = True
    torch.testing.assert_close(r(x(), edges=mixed)[0], router(activation="stick")(x())[0])


def test_signs_turn_messages_and_not_shares():
    signs = torch.tensor([[1, -1, 1, 1]] * 4)
    plain = Edges.complete(4)
    r = router(activation="sigmoid")
    r.sparse = True
    turned = Edges(plain.sources, plain.open, signs)
    torch.testing.assert_close(recorded(r, turned)[0], recorded(r, plain)[0] * signs)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_trains_without_nan(options):
    torch.manual_seed(0)
    model = inn.INN(vocab=5, neurons=3, width=8, rounds=1, recall=[], router="attention",
                    router_options={"heads": 2, **options})  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 3e-2)
    tokens = torch.arange(60).reshape(2, 30) % 5
    losses = []
    for _ in range(15):
        y, _ = model(tokens[:, :-1])
        losses.append(torch.nn.functional.cross_entropy(y.flatten(0, 1), tokens[:, 1:].flatten()))
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def test_what_has_no_meaning_is_refused():
    with pytest.raises(InputError, match="sink does nothing with activation 'stick'"):
        router(activation="stick", sink=True)
    with pytest.raises(InputError, match="fourier_rank does nothing with activation 'softmax'"):
        router(fourier_rank=3)
    model = inn.INN(vocab=5, neurons=3, width=8, rounds=1, recall=[], router="attention", input="copy", readout="mean",
                    weights="shared", router_options={"heads": 2, "sink": True})  # fmt: skip
    with pytest.raises(InputError, match="does not say that alike neurons hear the same"):
        inn.collapse(model)
