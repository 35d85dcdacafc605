"""Gates: a factor on what is sent, or who takes part; asked by every round, or once by the graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import inn
from inn import Graph, InputError
from inn.config.graph import GraphConfig
from inn.nn.gates.soft import Hard
from inn.registry import GATES, READOUTS, ROUTERS
from inn.runs.exported import load_exported, save_exported

N, D = 4, 8


class Positive(inn.Gate):
    """Neurons take part whose first number is positive, by a factor of one and a half of its gradient."""

    rests = once = True

    def forward(self, x, *, mask=None, present=None):
        first = x[..., 0]
        return first > 0, 1.5 + first - first.detach(), {"fit": first.square().mean()}


class Deaf(inn.WeightedRouter):
    """Weights with a mass, and no word of absent neurons."""

    def forward(self, x, state=None, *, edges=None, gate=None, reset=None, mask=None, tape=None):
        return self.values(x, gate), {}


@pytest.fixture(autouse=True)
def positive():
    with GATES.lent("positive", Positive):
        yield


def graph(**fields) -> Any:
    torch.manual_seed(0)
    g = Graph(**{"neurons": N, "width": D, "rounds": 2, **fields}).double()
    with torch.no_grad():
        for p in g.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return g


def inputs(time=7):
    return torch.randn(3, time, N * D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_hard_gate_is_binary_with_the_soft_gradient():
    hard = Hard(GraphConfig(neurons=N, width=D))
    with torch.no_grad():
        hard.weight.normal_(std=3)
        hard.bias.zero_()
    x = torch.randn(2, 3, N, D)
    _, emit, penalties = hard(x)
    g = torch.sigmoid((x * hard.weight).sum(-1))
    assert set(emit.unique().tolist()) == {0.0, 1.0}
    assert ((g > 0.5) == (emit > 0.5)).all()
    torch.testing.assert_close(penalties["gate"], g.mean())
    ours = torch.autograd.grad(emit.sum(), hard.weight, retain_graph=True)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(g.sum(), hard.weight)[0])


def test_a_gate_may_be_its_name_or_its_options():
    by_name, by_options = GraphConfig(gate="soft"), GraphConfig(gate={"kind": "soft"})
    assert by_name == by_options
    assert by_name.gate.kind == "soft"
    stored = inn.config.assemble.stored_model({"kind": "inn", "gate": "hard", "gate_penalty": 0.5})
    assert (stored.gate.kind, stored.gate_penalty) == ("hard", 0.5)


@pytest.mark.parametrize("fields", [{}, {"router": "attention", "readout": "mean"}, {"lag": 1}], ids=str)
def test_who_a_gate_of_the_graph_lets_rest_is_absent_throughout(fields):
    """And both must hold: what the caller says, and what the gate says."""
    g, x = graph(gate="positive", **fields).eval(), inputs()
    said = torch.rand(3, 7, N, generator=torch.Generator().manual_seed(2)) < 0.7
    awake = (g.distribute(x)[..., 0] > 0) & said
    y, state = g(x, present=said)
    assert not y.unflatten(-1, (N, -1))[~awake].any() if g.config.readout.kind == "concat" else True
    plain = graph(**fields).eval()
    plain.load_state_dict(g.state_dict())
    bar, after = plain.run(plain.distribute(x), chosen=(awake, torch.full_like(x[..., :N], 1.5), {}))
    torch.testing.assert_close(y, plain.readout(bar, present=awake))
    for key, t in after.items():
        torch.testing.assert_close(state[key], t)


def test_a_gate_of_the_graph_has_a_gradient_and_penalties_and_is_recorded():
    g, x = graph(gate="positive").train(), inputs().requires_grad_()
    y, state = g(x)
    torch.testing.assert_close(state.penalties["fit"], g.distribute(x)[..., 0].square().mean())
    assert torch.autograd.grad(y.square().sum(), x)[0].any()
    with inn.record(g, "gate") as tape:
        g(x)
    share = (x.unflatten(-1, (N, D))[..., 0] > 0).double().mean((0, 1))
    torch.testing.assert_close(tape.mean("gate"), share.expand(2, N))


def test_models_write_with_a_gate_of_the_graph():
    torch.manual_seed(0)
    model = inn.INN(vocab=11, neurons=N, width=D, rounds=2, gate="positive", readout="mean").eval()
    tokens = torch.arange(10).reshape(2, 5)
    logits, last = model(tokens)
    state = model.initial_state(2)
    for t in range(5):
        one, state = model.step_(tokens[:, t], state)
        torch.testing.assert_close(one, logits[:, t])
    for key, t in last.items():
        torch.testing.assert_close(state[key], t)


def test_a_router_or_a_readout_that_does_not_know_of_rest_is_refused():
    class LastOne(inn.Readout):
        def forward(self, x):
            return x[:, :, -1]

    with ROUTERS.lent("deaf", Deaf), READOUTS.lent("last-one", LastOne):
        with pytest.raises(InputError, match=r"router 'deaf' does not know .* leave gate 'positive' out"):
            graph(gate="positive", router="deaf")
        with pytest.raises(InputError, match=r"readout 'last-one' does not know .* leave gate 'positive' out"):
            graph(gate="positive", readout="last-one")


ACTIVE = [
    {},
    {"router": "none"},
    {"router": "attention", "readout": "mean", "inner": "kan"},
    {"lag": 1, "residual": "learned"},
    {"population": [{"neurons": 1}, {"neurons": N - 1, "memory": "gru"}]},
    {"weights": "shared", "router": "static", "update": "message-norm", "memory": "delta"},
]


def forced(g, bias: float):
    with torch.no_grad():
        for module in g.rounds:
            module.gate.weight.zero_()
            module.gate.bias.fill_(bias)
    return g


def without(g, **fields):
    plain = graph(**fields).eval()
    own = {name: t for name, t in g.state_dict().items() if ".gate." not in name}
    plain.load_state_dict(own)
    return plain


@pytest.mark.parametrize("fields", ACTIVE, ids=str)
def test_always_active_is_the_graph_without_a_gate_and_never_active_none(fields):
    fields = dict(fields) if "population" in fields else {"neurons": N, **fields}
    g, x = graph(gate="active", **fields).eval(), inputs()
    y, state = forced(g, 1e4)(x)
    bar, after = without(g, **fields)(x)
    torch.testing.assert_close(y, bar, rtol=1e-6, atol=1e-6)
    for key, t in after.items():
        torch.testing.assert_close(state[key], t, rtol=1e-6, atol=1e-6)
    y, state = forced(g, -1e4)(x)
    torch.testing.assert_close(y, g.readout(g.distribute(x)))
    first = g.initial_state(3)
    assert all(torch.equal(t, first[key].to(t)) for key, t in state.items() if "said" not in key[1])


@pytest.mark.parametrize("fields", ACTIVE, ids=str)
def test_resting_holds_with_resets_masks_and_any_split_with_gradients(fields):
    fields = dict(fields) if "population" in fields else {"neurons": N, **fields}
    g, x = forced(graph(gate="active", **fields), 0.0).eval(), inputs(9).requires_grad_()
    with torch.no_grad():
        for module in g.rounds:
            module.gate.weight.normal_()
    r = torch.Generator().manual_seed(3)
    reset, mask = torch.rand(3, 9, generator=r) < 0.2, torch.rand(3, 9, generator=r) < 0.8

    def run(cuts):
        state, ys, start = None, [], 0
        for n in cuts:
            at = slice(start, start + n)
            y, state = g(x[:, at], state, reset=reset[:, at], mask=mask[:, at])
            ys.append(y)
            start += n
        y = torch.cat(ys, 1) * mask[..., None]
        loss = y.square().sum() + sum(v.sin().sum() for v in state.values())
        return [y, *state.values(), *torch.autograd.grad(loss, [x, *g.parameters()], allow_unused=True)]

    whole = run([9])
    for cuts in ([1] * 9, [2, 3, 4]):
        for ours, bar in zip(run(cuts), whole, strict=True):
            if bar is not None:
                torch.testing.assert_close(ours, bar, rtol=1e-7, atol=1e-9)


def test_who_rests_in_a_round_is_not_heard_and_keeps_its_state_and_itself():
    g, x = forced(graph(gate="active", rounds=1), 1e4).eval(), inputs()
    before = g(x)[1]
    with torch.no_grad():
        g.round(0).gate.bias[1] = -1e4
    other = x.clone()
    other.unflatten(-1, (N, D))[:, :, 1] += 1.0
    (y, after), (moved, _) = g(x, before), g(other, before)
    y, moved = y.unflatten(-1, (N, D)), moved.unflatten(-1, (N, D))
    torch.testing.assert_close(y[:, :, 1], x.unflatten(-1, (N, D))[:, :, 1])
    torch.testing.assert_close(moved[:, :, [0, 2, 3]], y[:, :, [0, 2, 3]])
    assert all(torch.equal(after[key][:, 1], t[:, 1]) for key, t in before.items())
    with inn.record(g, "gate") as tape:
        g(x)
    assert tape.mean("gate").tolist() == [[1.0, 0.0, 1.0, 1.0]]


def test_the_price_of_an_active_gate_is_paid_where_it_is_open():
    g, x = graph(gate="active", gate_penalty=0.5).train(), inputs()
    paid = g(x)[1].penalties["gate"]
    first = g.round(0)
    found = first.gate(first.memory_norm(g.distribute(x)))
    assert 0 < paid <= 0.5
    torch.testing.assert_close(found[2]["gate"], (found[1] * found[0]).mean())
    assert forced(g, -1e4)(x)[1].penalties["gate"] == 0


GATES_OF_GROUPS = [("address", {"top": 3}), ("address", {"table": [5] * 10 + [4]}), ("active", {})]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind, options", GATES_OF_GROUPS, ids=str)
def test_a_gate_of_a_mixed_population_is_that_of_all_its_neurons(kind, options, tmp_path):
    """More neurons than a group has are named by `top` and `table`; groups have memories of their own, and no gate."""
    torch.manual_seed(0)
    groups = [{"neurons": 4}, {"neurons": 2, "memory": "gru"}]
    price = 0.5 if kind == "active" else 0.0
    fields = {"vocab": 11, "width": 8, "rounds": 1, "population": groups, "recall": [], "gate_penalty": price}
    model = inn.INN(**fields, gate={"kind": kind, **options})
    assert {c.gate.kind for c in model.config.groups} == {"none"}
    tokens, optimizer = torch.randint(11, (2, 12)), torch.optim.SGD(model.parameters(), 0.1)
    before = [p.detach().clone() for p in model.parameters()]
    logits, state = model(tokens)
    (logits.square().mean() + sum(state.penalties.values())).backward()
    optimizer.step()
    assert any(not torch.equal(p, old) for p, old in zip(model.parameters(), before))
    bar = model.eval()(tokens)[0]
    save_exported(model, tmp_path)
    torch.testing.assert_close(load_exported(tmp_path)(tokens)[0], bar)
    run = torch.export.export(model, (tokens,)).module()
    torch.testing.assert_close(run(tokens)[0], bar, rtol=1e-4, atol=1e-5)
