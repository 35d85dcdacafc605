"""The liquid memory: the published closed form; time between steps, from the graph down to the cell; the contract."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.config.assemble import graph_config
from inn.nn.graph import Graph
from inn.nn.memory.liquid import Liquid
from inn.system.errors import InputError
from inn.testing import check_memory

LAG = {"router": {"kind": "dendrites", "lag": 1}}
MIXED = [{"neurons": 1}, {"neurons": 1, "memory": "liquid"}]


def graph(**fields) -> Graph:
    torch.manual_seed(0)
    return Graph(**{"neurons": 2, "width": 4, "rounds": 2, "memory": "liquid", **fields}).double()


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 6, 8, dtype=torch.float64), torch.rand(2, 6, dtype=torch.float64) * 3


def test_it_keeps_the_contract():
    check_memory("liquid", expand=2)


def test_it_is_the_published_closed_form():
    torch.manual_seed(0)
    m = Liquid(graph_config(neurons=2, width=3, rounds=1, memory="liquid", router="none")).double()
    torch.nn.init.normal_(m.bias)
    x, first = torch.randn(2, 7, 2, 3, dtype=torch.float64), torch.randn(2, 2, 3, dtype=torch.float64)
    dt = torch.rand(2, 7, dtype=torch.float64) * 4
    for times in (dt, None):
        y, new = m(x, {"h": first}, dt=times)
        for b in range(2):
            for n in range(2):
                h = first[b, n]
                for t in range(7):
                    f, g, a, c = (m.in_proj.weight[n] @ x[b, t, n] + m.heard[n] @ h + m.bias[n]).split(3)
                    gate = torch.sigmoid(-(a * (1 if times is None else dt[b, t]) + c))
                    h = gate * torch.tanh(f) + (1 - gate) * torch.tanh(g)
                    torch.testing.assert_close(y[b, t, n], h)
                torch.testing.assert_close(new["h"][b, n], h)


@pytest.mark.parametrize(
    "fields", [{}, {"router": "attention"}, {"population": MIXED}, {"population": MIXED, **LAG}, LAG, {"attend": 3}]
)
def test_the_time_between_steps_reaches_it_in_any_split(fields):
    layer, (x, dt) = graph(**fields), drawn()
    y, last = layer(x, dt=dt)
    assert not torch.allclose(y, layer(x)[0])
    torch.testing.assert_close(layer(x, dt=torch.ones_like(dt))[0], layer(x)[0])
    first, state = layer(x[:, :2], dt=dt[:, :2])
    rest, end = layer(x[:, 2:], state, dt=dt[:, 2:])
    torch.testing.assert_close(torch.cat((first, rest), 1), y)
    for key, part in last.items():
        torch.testing.assert_close(end[key], part)
    now = layer.initial_state(2)
    for t in range(6):
        at = slice(t, t + 1)
        step = layer.readout(layer.run_(layer.distribute(x[:, at]), now, dt=dt[:, at]))
        torch.testing.assert_close(step, y[:, at])
    layer.checkpoint_rounds = True
    torch.testing.assert_close(layer(x, dt=dt)[0], y)


@pytest.mark.parametrize("fields", [{}, {"population": MIXED}])
def test_masked_steps_and_absent_neurons_take_no_time(fields):
    layer, (x, dt) = graph(**fields), drawn()
    on, mask = [0, 1, 4, 5], torch.ones(2, 6, dtype=torch.bool)
    mask[:, 2:4] = False
    short = layer(x[:, on], dt=dt[:, on])[0]
    poisoned = dt.clone()
    poisoned[:, 2:4] = torch.nan
    y = layer(x, mask=mask, dt=poisoned)[0]
    torch.testing.assert_close(y[:, on], short)
    y[:, on].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())
    there = mask[:, :, None].expand(-1, -1, 2)
    torch.testing.assert_close(layer(x, present=there, dt=dt)[0][:, on], short)


def test_a_language_model_takes_it():
    torch.manual_seed(0)
    model = inn.INN(vocab=11, neurons=2, width=4, rounds=1, memory="liquid", recall=[])
    tokens, dt = torch.arange(10).view(2, 5), torch.rand(2, 5)
    assert not torch.allclose(model(tokens, dt=dt)[0], model(tokens)[0])


@pytest.mark.parametrize(
    "dt, sentence",
    [
        (torch.ones(2, 5), r"dt must be \[B, T\], the time since the step before, here \[2, 6\], not \[2, 5\]"),
        (3.0, "not a float"),
        (-torch.ones(2, 6), "dt must be finite and 0 or more"),
        (torch.full((2, 6), torch.nan), "dt must be finite and 0 or more"),
    ],
)
def test_times_that_are_none_are_refused(dt, sentence):
    with pytest.raises(InputError, match=sentence):
        graph()(drawn()[0], dt=dt)


def test_time_is_refused_where_no_memory_takes_it():
    x, dt = drawn()
    with pytest.raises(InputError, match="no memory of this graph takes the time between steps"):
        graph(memory="gru")(x, dt=dt)
