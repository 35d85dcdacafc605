"""Gate `address`: each step goes to the neurons whose signature it fits, or that are known to take its symbol."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import inn
from inn import INN, Graph, InputError
from inn.config.graph import GraphConfig
from inn.nn.gates.address import Address
from inn.testing import check_gate

N, D, V = 4, 8, 12
PLAIN = {"neurons": N, "width": D, "rounds": 1, "input": "copy", "weights": "shared", "memory": "gru", "router": "none"}


def gate(**options) -> Address:
    torch.manual_seed(0)
    return Address(GraphConfig(**PLAIN, gate={"kind": "address", **options}))  # type: ignore[arg-type]


def model(**fields) -> Any:
    torch.manual_seed(0)
    return INN(vocab=V, **{**PLAIN, "readout": "mean", "recall": [], "gate": "address", **fields}).double()


@pytest.mark.parametrize("options", [{}, {"top": 2}, {"start": "random", "signature": 3}], ids=str)
def test_it_keeps_the_contract(options):
    check_gate("address", **options)


@pytest.mark.parametrize("top", [1, 3])
def test_the_best_fitting_neurons_work_by_a_factor_of_one_with_the_gradient_of_p(top):
    g, x = gate(top=top), torch.randn(2, 5, N, D)
    awake, factor, _ = g(x)
    key = torch.nn.functional.normalize(x @ g.key.T, dim=-1)
    p = ((key * torch.nn.functional.normalize(g.signatures, dim=-1)).sum(-1) / 0.3).softmax(-1)
    assert torch.equal(awake, p >= p.sort(-1).values[..., -top, None])
    assert torch.equal(factor, awake.float())
    ours = torch.autograd.grad(factor.sum(), g.signatures, retain_graph=True)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(p[awake].sum(), g.signatures)[0])


def test_inputs_that_all_share_are_looked_at_once():
    g, x = gate(), torch.randn(2, 5, 1, D)
    for one, other in zip(g(x.expand(-1, -1, N, -1))[:2], g(x.repeat(1, 1, N, 1))[:2]):
        assert torch.equal(one, other)


def test_disorder_is_zero_where_each_stream_has_a_neuron_of_its_own_and_all_are_used_alike():
    g, one = gate(balance=1.5), torch.eye(N).double()
    own = one[:, None].expand(-1, 6, -1)  # stream n, neuron n
    cases = {0.0: own, 1.5 * math.log(N): own[:1].expand(N, -1, -1), math.log(N): torch.full((N, 6, N), 1 / N).double()}
    for expected, p in cases.items():
        assert g.disorder(p, None).item() == pytest.approx(expected, abs=1e-9)
    mask = torch.ones(N, 6, dtype=torch.bool)
    mask[:, 3:] = False
    assert g.disorder(torch.cat((own[:, :3], own.flip(0)[:, 3:]), 1), mask).item() == pytest.approx(0.0, abs=1e-9)


def test_the_penalty_belongs_to_training():
    m, x = model(), torch.randint(V, (3, 7))
    assert m.train()(x)[1].penalties["address"] > 0
    assert not m.eval()(x)[1].penalties
    assert not model(gate={"kind": "address", "information": 0.0}).train()(x)[1].penalties


def test_known_addresses_are_those_of_the_symbols():
    table = [s % N for s in range(V)]
    m, x = model(gate={"kind": "address", "table": table}).eval(), torch.randint(V, (2, 9))
    with inn.record(m, "gate") as tape:
        y, state = m(x)
    shares = torch.nn.functional.one_hot(x % N, N).double().mean((0, 1))
    torch.testing.assert_close(tape.mean("gate")[0], shares)
    alone = [model(neurons=1, gate="none").eval() for _ in range(N)]
    for n, other in enumerate(alone):  # neuron n has read its own symbols, and no others
        other.load_state_dict({k: t for k, t in m.state_dict().items() if k != "backbone.ids"}, strict=False)
        own = [other(row[row % N == n][None])[1][0, "h"][0, 0] for row in x]
        torch.testing.assert_close(state[0, "h"][:, n], torch.stack(own))
    stepped = m.initial_state(2)
    for t in range(9):
        logits, stepped = m.step_(x[:, t], stepped)
        torch.testing.assert_close(logits, y[:, t])
    with pytest.raises(InputError, match="those of symbols"):
        Graph(**PLAIN, readout="mean", gate={"kind": "address", "table": table})(torch.randn(1, 2, D))


@pytest.mark.parametrize("fields", [{}, {"router": "attention", "rounds": 2}, {"memory": "mamba"}], ids=str)
def test_steps_one_by_one_equal_one_pass(fields):
    m, x = model(**fields).eval(), torch.randint(V, (2, 9))
    y, _ = m(x)
    state = m.initial_state(2)
    for t in range(9):
        logits, state = m.step_(x[:, t], state)
        torch.testing.assert_close(logits, y[:, t])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top": 5}, "more than the 4 neurons"),
        ({"top": 0}, "top must be at least 1"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"table": [0, 4]}, "neurons from 0 to 3"),
    ],
)
def test_refused(options, says):
    with pytest.raises(InputError, match=says):
        gate(**options)


def test_a_table_must_have_every_symbol():
    with pytest.raises(InputError, match="3 symbols, and the vocabulary has 12"):
        model(gate={"kind": "address", "table": [0, 1, 2]})


def test_a_gate_on_messages_still_needs_a_router():
    with pytest.raises(InputError, match="gate does nothing with router 'none'"):
        GraphConfig(router="none", gate="soft")
