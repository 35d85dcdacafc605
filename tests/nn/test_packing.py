"""Packed steps: what rests is not computed, and nothing is another number for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import inn.nn.round
from inn import Graph
from inn.nn.packing import Packed

N, D = 4, 8
FORMS = [
    {},
    {"weights": "shared", "readout": "mean"},
    {"router": "attention", "inner": "kan"},
    {"router": {"kind": "attention", "heads": 2, "qk_norm": True}},
    {"router": "attention", "weights": "shared", "update": "message-norm", "norm": "rms"},
    {"router": "attention", "topology": "ring"},
    {"router": {"kind": "attention", "sink": True}, "update": "parallel"},
    {"router": "static", "update": "parallel", "memory": "gru"},
    {"router": "bus", "update": "message-norm", "residual": "learned"},
    {"topology": "ring", "memory": "delta"},
    {"router": "none", "memory": "lstm", "gate": "none", "gate_penalty": 0.0},
    {"population": [{"neurons": 1}, {"neurons": N - 1, "memory": {"kind": "mamba", "state": 2}}]},
]


def graph(**fields) -> Any:
    torch.manual_seed(0)
    sizes = {} if "population" in fields else {"neurons": N}
    g = Graph(**{**sizes, "width": D, "rounds": 2, "gate": "active", "gate_penalty": 0.1, **fields}).double()
    with torch.no_grad():
        for p in g.parameters():
            p.add_(torch.randn_like(p) * 0.1)
        for module in g.rounds:
            if module.gate is not None:
                module.gate.bias.fill_(-0.5)
    return g.train()


def test_what_is_packed_comes_back_to_its_place():
    counts = torch.rand(3, 9, N, generator=torch.Generator().manual_seed(0)) < 0.4
    counts[1, :, 2] = False
    rows, x = Packed(counts), torch.randn(3, 9, N, D)
    assert rows.length == int(counts.sum(1).max())
    taken = rows.take(x)
    filled = rows.filled(taken)
    for b in range(3):
        for n in range(N):
            own, i = x[b, counts[b, :, n], n], n * 3 + b
            assert torch.equal(taken[rows.first[i] : rows.first[i + 1]], own)
            assert torch.equal(filled[b, : len(own), n], own)
            assert rows.inside[b, :, n].tolist() == [t < len(own) for t in range(rows.length)]
    assert torch.equal(rows.spread(taken), x * counts[..., None])
    assert torch.equal(rows.listed(filled), taken)
    assert torch.equal(rows.put(x + 1, taken), torch.where(counts[..., None], x, x + 1))
    weight = torch.randn(N, 5, N * D)
    bar = torch.einsum("bti,noi->btno", (x * counts[..., None]).flatten(2), weight) * counts[..., None]
    torch.testing.assert_close(rows.spread(rows.heard(taken, weight)), bar, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fields", FORMS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_packed_is_what_is_masked_with_gradients(fields, masked, monkeypatch):
    g, r = graph(**fields), torch.Generator().manual_seed(1)
    x = torch.randn(3, 20, g.in_features, generator=r, dtype=torch.float64).requires_grad_()
    mask = torch.rand(3, 20, generator=r) < 0.8 if masked else None
    present = torch.rand(3, 20, N, generator=r) < 0.3
    before = g(x.detach())[1].detach()
    used = []

    def run():
        y, state = g(x, before, mask=mask, present=present)
        y = y if mask is None else y * mask[..., None]
        loss = y.square().sum() + sum(v.sin().sum() for v in state.values()) + sum(state.penalties.values())
        leaves = [x, *g.parameters()]
        first = torch.autograd.grad(loss, leaves, allow_unused=True, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), leaves, allow_unused=True)
        return [y, *state.values(), *first, *second]

    def counting(*given):
        used.append(found := packed(*given))
        return found

    packed = inn.nn.round.packed
    monkeypatch.setattr(inn.nn.round, "packed", counting)
    ours = run()
    assert any(found is not None for found in used), "nothing was packed"
    monkeypatch.setattr(inn.nn.round, "packed", lambda *given: None)
    for one, bar in zip(ours, run(), strict=True):
        if bar is None or one is None:
            assert bar is None or not bar.any()
            continue
        torch.testing.assert_close(one, bar, rtol=1e-6, atol=1e-8)
