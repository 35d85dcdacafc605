"""How a round puts what is new to what was: the formulas, where they become plain addition, and what they cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inn import Graph
from inn.nn.presence import only_present
from inn.nn.residual import FIRST_GATE

SMALL: dict[str, Any] = {"neurons": 3, "width": 8, "rounds": 1, "memory_options": {"state": 4}}
ROUTERS = ["dendrites", "attention", "none"]


def graph(residual: str, router: str = "attention", **fields: Any) -> Any:
    torch.manual_seed(0)
    found = Graph(**{**SMALL, **fields}, router=router, residual=residual).double().eval()
    with torch.no_grad():
        for p in found.parameters():
            p.add_(torch.randn(p.shape, dtype=p.dtype) * 0.1)  # a router that begins silent, too
    return found


def graph_of(**fields: Any) -> Any:
    return Graph(**fields)


def by_hand(module: Any, x: torch.Tensor, combine) -> torch.Tensor:
    """A round in the form `sequential`, its two combinations as told."""
    state, heard = module.initial_state(x.shape[0]), module.memory_norm(x)
    if module.router is not None and module.router.into_memory:
        heard = module.router(heard, state, edges=None, reset=None, mask=None, tape=None, gate=None)[0]
    y = combine(module.memory_residual, x, module.memory(heard, state)[0])
    if module.router is None or module.router.into_memory:
        return y
    options = {"edges": None, "reset": None, "mask": None, "tape": None, "gate": None}
    return combine(module.router_residual, y, module.router(module.router_norm(y), state, **options)[0])


FORMULAS = {
    "add": lambda part, x, y: x + y,
    "learned": lambda part, x, y: x + torch.sigmoid(part.rate) * y,
    "input": lambda part, x, y: gated(part, x, y),
}


def gated(part: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(1 - z) x + z y with one map of both."""
    W = torch.cat([part.old.weight, part.new.weight], -1)
    z = torch.sigmoid(torch.einsum("noi,btni->btno", W, torch.cat([x, y], -1)) + part.bias)
    return (1 - z) * x + z * y


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("residual", list(FORMULAS))
def test_a_round_is_its_formula(residual, router):
    module = graph(residual, router).rounds[0]
    x = torch.randn(2, 5, 3, 8, dtype=torch.float64)
    y = module(x, module.initial_state(2))[0]
    torch.testing.assert_close(y, by_hand(module, x, FORMULAS[residual]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("router", ROUTERS)
def test_a_large_rate_is_plain_addition_and_a_closed_gate_leaves_everything(router):
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    plain, learned, gate = (graph(kind, router) for kind in ("add", "learned", "input"))
    same = {k: v for k, v in learned.state_dict().items() if "residual" not in k}
    plain.load_state_dict(same)
    parts = [m for g in (learned, gate) for m in (g.rounds[0].memory_residual, g.rounds[0].router_residual) if m]
    with torch.no_grad():
        for part in parts:
            for name, p in part.named_parameters():
                p.fill_(60.0 if name == "rate" else -60.0 if name == "bias" else 0.0)
    assert torch.equal(learned(x)[0], plain(x)[0])  # σ(60) is 1
    torch.testing.assert_close(gate(x)[0], x, rtol=0, atol=1e-12)


def test_addition_has_no_parameters_and_the_others_start_where_they_say():
    plain = Graph(**SMALL, router="attention")
    assert not any("residual" in name for name, _ in plain.named_parameters())
    learned, gated = (graph_of(**SMALL, router="attention", residual=kind).rounds[0] for kind in ("learned", "input"))
    assert learned.memory_residual.rate.unique().tolist() == [0.0]
    assert gated.router_residual.bias.unique().tolist() == [FIRST_GATE]
    assert gated.memory_residual.old.weight.shape == (3, 8, 8)
    shared = graph_of(**SMALL, router="attention", residual="input", weights="shared").rounds[0]
    assert shared.memory_residual.old.weight.shape == (1, 8, 8)


def test_flops_count_the_gates_of_memory_and_messages():
    plain, learned, gated = (graph_of(**SMALL, router="attention", residual=k).flops() for k in FORMULAS)
    assert "residual" not in plain
    assert learned == {**plain, "residual": 2 * 3 * 8}
    assert gated == {**plain, "residual": 2 * (2 * 3 * 8 * 16 + 4 * 3 * 8)}


@pytest.mark.parametrize("residual", ["learned", "input"])
def test_absent_neurons_stay_out_and_a_step_in_place_is_a_step(residual):
    g = graph(residual, "static")
    x, present = torch.randn(2, 5, 24, dtype=torch.float64), torch.rand(2, 5, 3) < 0.6
    neurons = only_present(g.distribute(x), present)
    y, last = g.run(neurons, present=present)
    assert y[~present].abs().max() == 0
    state, steps = g.initial_state(2), []
    for t in range(5):
        steps.append(g.run_(g.distribute(x[:, t : t + 1]), state, present[:, t : t + 1]))
    torch.testing.assert_close(torch.cat(steps, 1), y, rtol=0, atol=1e-12)
    for key in last:
        torch.testing.assert_close(state[key], last[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", ["separate", "shared", "communal"])
def test_half_precision_and_gradients_reach_every_parameter(weights):
    extra: dict[str, Any] = {"communal_states": 4} if weights == "communal" else {}
    g = Graph(**SMALL, router="attention", residual="input", weights=weights, zero_start=False, **extra)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = g(torch.randn(2, 5, 24))[0]
    y.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in g.parameters())
    assert g.bfloat16()(torch.randn(2, 5, 24, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
