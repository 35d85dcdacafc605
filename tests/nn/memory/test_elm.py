"""The expressive leaky memory: its decay, its branches' trace, the published recurrence; the contract of a memory."""

from __future__ import annotations

import math

import pytest
import torch

from inn.config.assemble import graph_config
from inn.nn.memory.elm import ELM
from inn.ops import use_backend
from inn.system.errors import InputError
from inn.testing import check_memory

F64 = torch.float64


def memory(**options) -> ELM:
    torch.manual_seed(0)
    fields = {"neurons": 3, "width": 6, "rounds": 1, "router": "none", "memory": "elm", "memory_options": options}
    m = ELM(graph_config(**fields)).double()
    for p in (m.bias, m.out_bias):
        torch.nn.init.normal_(p)
    m.synapses.data.uniform_(-0.3, 1.0)  # some are silent
    return m


def test_it_keeps_the_contract():
    check_memory("elm", branches=4, synapses=3, learn_tau=True, expand=2)


@pytest.mark.parametrize("options", [{}, {"learn_tau": True, "tau_min": 2.0, "tau_max": 300.0}])
def test_an_impulse_decays_by_its_time_constant(options):
    m = memory(**options)
    for p in (m.out, m.out_bias):  # nothing is written
        p.data.zero_()
    tau = m.taus().expand(3, 6)
    state = m.initial_state(1)
    state["m"][:] = 1.0
    for t in (1, 10, 100, 1000):
        _, after = m(torch.randn(1, t, 3, 6, dtype=F64), state)
        assert (after["m"][0] - torch.exp(-t / tau)).abs().max() < 1e-6


def test_its_time_constants_are_spread_evenly_in_their_logarithm_and_bounded():
    m = memory(tau_min=1.0, tau_max=1000.0, expand=4)
    torch.testing.assert_close(m.taus(), torch.logspace(0, 3, 24, dtype=F64))
    torch.testing.assert_close(m.time_constants(None, None), torch.logspace(0, 3, 24, dtype=F64).expand(3, -1))
    learned = memory(tau_min=2.0, tau_max=50.0, learn_tau=True)
    rise = learned.taus().log().diff()
    torch.testing.assert_close(rise[:, 1:-1], rise[:, 1:2].expand(-1, 3), rtol=1e-5, atol=0)
    for at in (-1e4, 1e4):
        learned.tau_at.data.fill_(at)
        assert learned.taus().min() >= 2.0 - 1e-9
        assert learned.taus().max() <= 50.0 + 1e-9


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_the_branches_trace_is_that_of_a_loop(dtype):
    m = memory(tau_branch=7.0).to(dtype)
    x, before = torch.randn(2, 40, 3, 6, dtype=dtype), torch.randn(2, 3, 6, dtype=dtype)
    reset, mask = torch.rand(2, 40) < 0.1, torch.rand(2, 40) < 0.8
    b, after = m.trace(x, before, reset, mask)
    near = {"rtol": 1e-6, "atol": 1e-6} if dtype == F64 else {"rtol": 1e-5, "atol": 1e-5}
    now = before
    for t in range(40):
        now = now.masked_fill(reset[:, t, None, None], 0)
        new = math.exp(-1 / 7) * now + x[:, t]
        now = torch.where(mask[:, t, None, None], new, now)
        torch.testing.assert_close(b[:, t][mask[:, t]], now[mask[:, t]], **near)
    torch.testing.assert_close(after, now, **near)
    with use_backend("reference"):
        torch.testing.assert_close(m.trace(x, before, reset, mask)[1], after, **near)


@pytest.mark.parametrize("options", [{}, {"branches": 3, "synapses": 4, "gain": 2.0}])
def test_it_is_the_published_recurrence(options):
    m = memory(**options)
    J, K = m.options.tree(6)
    x, m0, b0 = (torch.randn(2, *s, dtype=F64) for s in ([7, 3, 6], [3, 6], [3, J]))
    y, new = m(x, {"m": m0, "b": b0})
    keep, take = torch.exp(-1 / m.taus()), 1 - torch.exp(-m.options.gain / m.taus())
    for n in range(3):
        units, b = m0[:, n], b0[:, n]
        for t in range(7):
            heard = [[x[:, t, n, (6 // J * j + k) % 6] for k in range(K)] for j in range(J)]
            summed = [sum(w.clamp(min=0) * h for w, h in zip(m.synapses[n, j], heard[j])) for j in range(J)]
            b = math.exp(-1 / 5) * b + torch.stack(summed, -1)
            weight = torch.cat((m.branch.weight[n], m.heard[n]), 1)
            hidden = torch.relu(torch.cat((b, keep * units), 1) @ weight.T + m.bias[n])
            units = keep * units + take * 1.7159 * torch.tanh(2 / 3 * (hidden @ m.out[n].T + m.out_bias[n]))
            torch.testing.assert_close(y[:, t, n], units @ m.out_proj.weight[n].T)
        torch.testing.assert_close(new["m"][:, n], units)
        torch.testing.assert_close(new["b"][:, n], b)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"tau_min": 0.0}, "tau_min 0.0 must be above 0"),
        ({"tau_min": 9.0, "tau_max": 3.0}, "tau_min 9.0 must be above 0 and at most tau_max 3.0"),
        ({"tau_branch": 0.0}, "tau_branch must be above 0, not 0.0"),
        ({"gain": -1.0}, "gain must be above 0, not -1.0"),
        ({"branches": 4}, "branches must divide the width of a neuron, 6, unlike 4"),
        ({"synapses": 7}, "synapses must be at most 6, the width of a neuron, not 7"),
        ({"tau_min": 5.0, "tau_max": 5.0, "learn_tau": True}, "learn_tau has nothing to learn"),
    ],
)
def test_its_options_are_checked(options, sentence):
    with pytest.raises(InputError, match=sentence):
        graph_config(neurons=3, width=6, memory="elm", memory_options=options)
