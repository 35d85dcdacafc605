"""The parallel spiking memory: its window against a plain loop, its surrogate gradient, absent steps."""

import math

import pytest
import torch

import inn
import inn.testing
from inn.config.assemble import graph_config
from inn.nn.memory.psn import PSN, windowed
from inn.ops.spike import sign, spike
from inn.system.errors import InputError


def memory(**fields):
    torch.manual_seed(0)
    options = {"neurons": 3, "width": 4, "memory": "psn", "window": 4, "router": "none", **fields}
    return PSN(graph_config(**options)).double()


def test_contract_with_long_and_short_windows():
    inn.testing.check_memory("psn", window=2, expand=1)
    inn.testing.check_memory("psn", window=12, threshold=0.1)


def test_equals_a_plain_float64_loop_over_the_steps_that_count():
    m = memory()
    torch.nn.init.normal_(m.window)
    B, T, N, H, W = 2, 20, 3, 8, 4
    x = torch.randn(B, T, N, 4, dtype=torch.float64)
    state = {"current": torch.randn(B, N, W - 1, H, dtype=torch.float64)}
    reset, mask = torch.rand(B, T) < 0.15, torch.rand(B, T) < 0.8
    y, last = m(x, state, reset=reset, mask=mask)
    fired = 0.0
    for b in range(B):
        for n in range(N):
            past = list(state["current"][b, n])
            for t in range(T):
                if reset[b, t]:
                    past = [torch.zeros(H).double()] * (W - 1)
                if not mask[b, t]:
                    continue
                past.append(m.in_proj.weight[n] @ x[b, t, n])
                v = sum(m.window[n, :, j] * past[len(past) - W + j] for j in range(W))
                s = (v >= 0.5).double()
                fired += float(s.sum())
                torch.testing.assert_close(y[b, t, n], m.out_proj.weight[n] @ s, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(last["current"][b, n], torch.stack(past[1 - W :]), rtol=1e-12, atol=1e-12)
    assert 50 < fired < 600


def test_the_threshold_is_exact_and_its_slope_that_of_the_arctangent():
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        v = (torch.randn(1000) * 3).to(dtype).requires_grad_()
        s = spike(v)
        assert torch.equal(s, (v >= 0).to(dtype))
        assert torch.equal(sign(v), v.sign())
        with torch.no_grad():
            assert torch.equal(spike(v), s)
        slope = torch.autograd.grad(s.sum(), v)[0]
        torch.testing.assert_close(slope.double(), 1 / (1 + (math.pi * v.double()) ** 2), rtol=2e-2, atol=1e-6)
    assert torch.equal(sign(torch.zeros(1)), torch.zeros(1))


def test_gradients_reach_inputs_window_and_the_state_before():
    window = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(1, 5, 1, 2, dtype=torch.float64, requires_grad=True)
    state = torch.randn(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    reset = torch.tensor([[False, False, False, True, False]])
    assert torch.autograd.gradcheck(lambda *a: windowed(a[0], a[1], None, a[2], reset, None), (x, window, state))


def test_a_window_of_one_step_and_no_units_are_refused():
    with pytest.raises(InputError, match="window must be at least 2, not 1"):
        inn.INN(vocab=5, memory="psn", window=1)
    with pytest.raises(InputError, match="expand must be at least 1, not 0"):
        inn.INN(vocab=5, memory="psn", expand=0)
