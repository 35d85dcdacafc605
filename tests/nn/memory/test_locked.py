"""The locked memory: its formula, the contract of a memory, and that what was written stays."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.config.assemble import graph_config
from inn.nn.memory.locked import Locked
from inn.testing import check_memory

D = 5


def memory(weights="separate", dtype=torch.float64, **options):
    torch.manual_seed(0)
    fields = {"neurons": 3, "width": D, "rounds": 1, "memory": "locked", "router": "none", "weights": weights}
    made = Locked(graph_config(**fields, memory_options=options)).to(dtype)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p))
    return made


@pytest.mark.parametrize("options", [{}, {"exact": 1.0, "expand": 2}, {"closed": 0.0, "exact": 0.5}])
def test_it_keeps_the_contract(options):
    check_memory("locked", **options)


@pytest.mark.parametrize("weights", ["shared", "separate"])
@pytest.mark.parametrize("exact", [0.6, 1.0])
def test_equals_its_formula(weights, exact):
    m = memory(weights, exact=exact)
    x = torch.randn(2, 7, 3, D, dtype=torch.float64)
    h = torch.randn(2, 3, D, dtype=torch.float64)
    y, new = m(x, {"h": h})
    given = m.in_proj(x) + m.bias
    for t in range(7):
        r, z, n = given[:, t].chunk(3, -1)
        r, z = torch.sigmoid(r), torch.sigmoid(z)
        z = torch.where(z > exact, 1.0, z)
        n = torch.tanh(n + r * (h + m.new_bias))
        h = z * h + (1 - z) * n
        torch.testing.assert_close(y[:, t], h)
    torch.testing.assert_close(new["h"], h)


def test_what_was_written_stays_behind_gates_that_are_shut():
    m = memory(dtype=torch.float32)
    with torch.no_grad():
        m.bias[:, D : 2 * D] = 50.0
    h = torch.randn(1, 3, D).clamp(-1, 1)
    x = torch.randn(1, 20_000, 3, D)
    with torch.no_grad():
        assert (m(x, {"h": h})[1]["h"] - h).abs().max() < 1e-4
        m.options.exact = 1.0
        m.bias[:, D : 2 * D] = 7.0  # nearly shut: less than a thousandth leaks at a step
        assert (m(x, {"h": h})[1]["h"] - h).abs().max() > 0.1


def test_it_starts_nearly_closed_and_can_learn():
    layer = inn.Graph(neurons=2, width=8, rounds=1, memory="locked", router="none")
    gate = layer.rounds[0].memory.bias[:, 8:16]
    assert (torch.sigmoid(gate) > 0.8).all()
    assert (torch.sigmoid(gate) < 0.95).all()  # a gate that is shut has no gradient
    layer(torch.randn(2, 6, 16))[0].square().sum().backward()
    assert layer.rounds[0].memory.bias.grad[:, 8:16].abs().sum() > 0


@pytest.mark.parametrize("exact", [-0.1, 1.5])
def test_what_is_no_share_is_refused(exact):
    with pytest.raises(inn.InputError, match="exact must be at"):
        inn.Graph(neurons=2, width=8, memory="locked", memory_options={"exact": exact})
