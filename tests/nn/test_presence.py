"""Absent neurons: skipped by memory, router and readout, as if they had been cut out, and nothing changes elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import inn
from inn import Graph, InputError
from inn.config.assemble import drafted
from inn.config.graph import GraphConfig
from inn.ops import use_backend
from inn.registry import MEMORIES, READOUTS, ROUTERS

N, D = 4, 8
SMALL = {"neurons": N, "width": D, "rounds": 2, "state": 4, "heads": 2, "bus_width": 4, "zero_start": False}
FORMS = [
    {},
    {"weights": "shared", "input": "copy", "readout": "mean", "identity": "embedding", "identity_std": 1.0},
    {"share_rounds": True, "rounds": 3, "readout": "attention", "gate": "soft"},
    {"router": "attention", "qk_norm": True, "update": "parallel", "readout": "mean"},
    {"router": "attention", "topology": "ring", "update": "message-norm"},
    {"router": "static", "readout": "mean", "update": "message-norm"},
    {"router": "static", "topology": "ring"},
    {"router": "mixing", "gate": "hard"},
    {"router": "bus", "gate": "soft"},
    {"router": "none", "readout": "attention"},
    {"population": [{"neurons": 1, "width": D}, {"neurons": 3, "memory": {"kind": "mamba", "state": 2}}]},
]


def config(**fields):
    """Of `SMALL`, the options that the chosen kinds have."""
    fields = {**SMALL, **fields}
    if "population" in fields:
        fields = {"neurons": N, "width": D, "rounds": 2, "population": [{"neurons": 1}, {"neurons": N - 1}]}
    return GraphConfig(**drafted(GraphConfig, fields, lenient=True).tree)


def graph(dtype=torch.float64, **fields) -> Any:
    torch.manual_seed(0)
    g = Graph(config(**fields)).to(dtype)
    with torch.no_grad():
        for p in g.parameters():  # a readout's query, a norm's gain: not where they begin
            p.add_(torch.randn_like(p) * 0.1)
    return g.eval()


def given(g, batch=3, time=9, present=0.6):
    """Inputs, which neurons are there, resets and a mask."""
    r = torch.Generator().manual_seed(1)
    x = torch.randn(batch, time, g.in_features, generator=r, dtype=torch.float64).to(next(g.parameters()).dtype)
    there = torch.rand(batch, time, N, generator=r) < present
    return x, there, torch.rand(batch, time, generator=r) < 0.2, torch.rand(batch, time, generator=r) < 0.8


def cut(big, keep: list[int], **fields) -> Any:
    """The graph of the neurons `keep` alone, with the weights they have in the big one."""
    small = graph(**{**fields, "neurons": len(keep)})
    own, wide = small.state_dict(), big.state_dict()
    for name, to in own.items():
        t = wide[name]
        for axis in range(t.ndim):
            if t.shape[axis] != to.shape[axis]:
                rows = torch.arange(t.shape[axis]).unflatten(0, (N, -1))[keep].flatten()
                t = t.index_select(axis, rows)
        own[name] = t
    small.load_state_dict(own)
    return small


@pytest.mark.parametrize("fields", [f for f in FORMS if "topology" not in f and "population" not in f], ids=str)
def test_a_neuron_absent_throughout_is_a_neuron_cut_out(fields):
    g, keep = graph(**fields), [0, 2, 3]
    small = cut(g, keep, **fields)
    if fields.get("router") == "mixing":
        for m, of in zip(small.rounds, g.rounds):
            m.router.weights.data = of.router.weights.data[keep][:, keep]
    x, _, reset, mask = given(g)
    there = torch.tensor([[True, False, True, True]] * 3)
    y, state = g(x, present=there, reset=reset, mask=mask)
    part = x if g.config.input == "copy" else x.unflatten(-1, (N, D))[:, :, keep].flatten(2)
    alone, last = small(part, reset=reset, mask=mask)
    if g.config.readout.kind == "concat":
        assert not y.unflatten(-1, (N, D))[:, :, 1].any()
        y = y.unflatten(-1, (N, D))[:, :, keep].flatten(2)
    torch.testing.assert_close(y[mask], alone[mask], rtol=1e-9, atol=1e-9)
    for key, t in last.items():
        torch.testing.assert_close(state[key][:, keep], t, rtol=1e-9, atol=1e-9)
        assert not state[key][:, 1].any()


@pytest.mark.parametrize("fields", FORMS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_all_are_present_nothing_changes(fields, dtype):
    g = graph(dtype, **fields)
    x, there, reset, mask = given(g)
    there[0], there[1, :5] = True, True  # one stream throughout, another up to its sixth step
    there[2, :, 0] = False
    y, state = g(x, present=there, reset=reset, mask=mask)
    plain, last = g(x, reset=reset, mask=mask)
    assert torch.equal(y[0][mask[0]], plain[0][mask[0]])
    assert torch.equal(y[1, :5][mask[1, :5]], plain[1, :5][mask[1, :5]])
    assert all(torch.equal(state[key][0], t[0]) for key, t in last.items())
    whole, after = g(x, present=torch.ones_like(there), reset=reset, mask=mask)
    assert torch.equal(whole[mask], plain[mask])
    assert all(torch.equal(after[key], t) for key, t in last.items())


@pytest.mark.parametrize("fields", FORMS, ids=str)
def test_any_split_equals_one_pass_with_gradients(fields):
    g = graph(**fields)
    x, there, reset, mask = given(g)
    there[1, 4] = False  # nobody
    x.requires_grad_()

    def run(cuts):
        state, ys, start = None, [], 0
        for n in cuts:
            at = slice(start, start + n)
            y, state = g(x[:, at], state, reset=reset[:, at], mask=mask[:, at], present=there[:, at])
            ys.append(y)
            start += n
        y = torch.cat(ys, 1) * mask[..., None]
        loss = y.square().sum() + sum(v.sin().sum() for v in state.values())
        return [y, *state.values(), *torch.autograd.grad(loss, [x, *g.parameters()], allow_unused=True)]

    whole = run([9])
    assert not whole[0][1, 4].any()
    for cuts in ([1] * 9, [2, 3, 4], [7, 2]):
        for ours, bar in zip(run(cuts), whole, strict=True):
            if bar is not None:
                torch.testing.assert_close(ours, bar, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("fields", [FORMS[0], FORMS[4], FORMS[5], FORMS[10]], ids=str)
def test_steps_in_place_and_all_backends_agree(fields):
    g = graph(**fields)
    x, there, *_ = given(g)
    y, last = g(x, present=there)
    state = g.initial_state(3)
    for t in range(9):
        step = g.readout(g.run_(g.distribute(x[:, t : t + 1]), state, there[:, t : t + 1]), present=there[:, t : t + 1])
        torch.testing.assert_close(step, y[:, t : t + 1], rtol=1e-9, atol=1e-9)
    for key, t in last.items():
        torch.testing.assert_close(state[key], t, rtol=1e-9, atol=1e-9)
    f = graph(torch.float32, **fields)
    with use_backend("reference"):
        bar = f(x.float(), present=there)[0]
    torch.testing.assert_close(f(x.float(), present=there)[0], bar, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fields", FORMS, ids=str)
def test_the_state_of_an_absent_neuron_is_not_touched_bit_for_bit(fields):
    g = graph(torch.float32, **fields)
    x, *_ = given(g)
    _, before = g(x)
    there = torch.ones(3, 9, N, dtype=torch.bool)
    there[1, :, 0], there[2] = False, False
    y, after = g(x, before, present=there)
    names = [(key, t) for key, t in before.items() if not key[1].endswith("@1")]
    assert all(torch.equal(after[key][1, 0], t[1, 0]) for key, t in names)
    assert all(torch.equal(after[key][2], t[2]) for key, t in before.items())
    assert not y[2].any()


@pytest.mark.parametrize("fields", [f for f in FORMS if f.get("input") != "copy"], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_missing_of_an_absent_neuron_reaches_nothing(fields, dtype):
    g = graph(dtype, **fields).train()
    x, there, reset, _ = given(g, present=0.4)
    zeros = x.masked_fill(~there.repeat_interleave(D, -1), 0).requires_grad_()
    gaps = zeros.detach().masked_fill(~there.repeat_interleave(D, -1), torch.nan).requires_grad_()
    found = []
    for read in (zeros, gaps):
        y, state = g(read, present=there, reset=reset)
        loss = y.square().sum() + sum(t.sum() for t in state.values()) + sum(state.penalties.values())
        found.append([y, *state.values(), *torch.autograd.grad(loss, [read, *g.parameters()], allow_unused=True)])
    for ours, bar in zip(*found, strict=True):
        assert (ours is None and bar is None) or (ours.isfinite().all() and torch.equal(ours, bar))


def test_a_graph_of_one_neuron_that_is_absent_gives_zeros():
    g = graph(neurons=1)
    y, state = g(torch.full((2, 3, D), torch.nan, dtype=torch.float64), present=torch.zeros(2, 1, dtype=torch.bool))
    assert not y.any()
    assert not any(t.any() for t in state.values())


class Sum(inn.Memory):
    """The running sum of what a neuron takes in; knows nothing of absent neurons."""

    def __init__(self, config):
        super().__init__(config)
        self.n, self.d = config.neurons, config.width

    def initial_state(self, batch):
        return {"sum": torch.zeros(batch, self.n, self.d, dtype=torch.float64)}

    def forward(self, x: Tensor, state, *, reset=None, mask=None):
        total, out = state["sum"], []
        for t in range(x.shape[1]):
            total = total if reset is None else total.masked_fill(reset[:, t, None, None], 0)
            new = total + x[:, t]
            total = new if mask is None else torch.where(mask[:, t, None, None], new, total)
            out.append(total)
        return torch.stack(out, 1), {"sum": total}, {"size": total.square().mean()}

    def flops(self):
        return {}


class Deaf(inn.WeightedRouter):
    """Weights with a mass, and no word of absent neurons."""

    def forward(self, x, state=None, *, edges=None, gate=None, reset=None, mask=None, tape=None):
        return self.out(self.values(x, gate).mean(2, keepdim=True).expand_as(x)), {}


class Last(inn.Readout):
    """The last neuron."""

    def forward(self, x):
        return x[:, :, -1]


def test_a_memory_that_does_not_know_is_stepped():
    assert not Sum.takes_present
    with MEMORIES.lent("sum", Sum):
        g = Graph(neurons=N, width=D, memory="sum", rounds=1, router="mixing").double()
        x, there, reset, mask = given(g)
        y, state = g.train()(x, present=there, reset=reset, mask=mask)
        halves = g(x[:, :4], present=there[:, :4], reset=reset[:, :4], mask=mask[:, :4])
        rest = g(x[:, 4:], halves[1], present=there[:, 4:], reset=reset[:, 4:], mask=mask[:, 4:])
        torch.testing.assert_close(torch.cat((halves[0], rest[0]), 1)[mask], y[mask])
        torch.testing.assert_close(rest[1][0, "sum"], state[0, "sum"])
        assert state.penalties["size"].isfinite()
        always = there[:, 0]
        once, apart = g(x, present=always, reset=reset), g(x, present=always[:, None].repeat(1, 9, 1), reset=reset)
        torch.testing.assert_close(once[0], apart[0])
        torch.testing.assert_close(once[1][0, "sum"], apart[1][0, "sum"])


def test_a_router_or_a_readout_that_does_not_know_is_refused():
    x, there = torch.zeros(1, 2, N * D), torch.ones(1, N, dtype=torch.bool)
    with ROUTERS.lent("deaf", Deaf), READOUTS.lent("last", Last):
        with pytest.raises(InputError, match="router 'deaf' does not know of absent neurons"):
            Graph(neurons=N, width=D, router="deaf")(x, present=there)
        with pytest.raises(InputError, match="readout 'last' does not know of absent neurons"):
            Graph(neurons=N, width=D, readout="last")(x, present=there)


@pytest.mark.parametrize("bad", [torch.ones(2, 3), torch.ones(2, 3, N + 1), torch.full((2, N), 2), [[True]]])
def test_other_forms_of_present_are_refused(bad):
    with pytest.raises(InputError, match=r"present must be"):
        Graph(neurons=N, width=D)(torch.zeros(2, 3, N * D), present=bad)


def test_no_streams_and_no_steps():
    g = graph()
    for b, t in ((0, 3), (2, 0)):
        x = torch.zeros(b, t, N * D, dtype=torch.float64)
        assert g(x, present=torch.zeros(b, t, N, dtype=torch.bool))[0].shape == (b, t, N * D)


@pytest.mark.parametrize("fields", [FORMS[0], FORMS[3]], ids=str)
def test_rounds_that_are_computed_again_give_the_same_gradients(fields):
    g = graph(**fields).train()
    x, there, reset, mask = given(g)

    def gradients():
        y, _ = g(x, present=there, reset=reset, mask=mask)
        return torch.autograd.grad(y.square().sum(), list(g.parameters()), allow_unused=True)

    bar = gradients()
    g.checkpoint_rounds = True
    for ours, once in zip(gradients(), bar, strict=True):
        assert (ours is None and once is None) or torch.equal(ours, once)


@pytest.mark.parametrize("fields", FORMS[3:7], ids=str)
def test_a_tape_sees_the_weights_that_were_used(fields):
    g = graph(**fields)
    x, there, *_ = given(g)
    there[..., 1], there[..., 0] = False, True
    with inn.record(g, "routing", "activity") as tape:
        y, _ = g(x, present=there)
    torch.testing.assert_close(y, g(x, present=there)[0])
    assert not tape.mean("routing")[..., 1].any()
    torch.testing.assert_close(tape.mean("routing")[:, :, 0].sum(-1), torch.ones(2, g.rounds[0].router.heads).double())
    assert not tape.mean("activity")[:, 1].any()
