"""The Mamba memory: contract, time constants, sizes."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from inn.config.assemble import graph_config
from inn.nn.memory.mamba import Mamba
from inn.ops import use_backend


def memory(**fields):
    torch.manual_seed(0)
    return Mamba(graph_config(**{"neurons": 3, "width": 8, "state": 4, "router": "none", **fields})).double()


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 999),
)
def test_any_split_equals_one_pass(lengths, separate, dendrites, with_reset, with_mask, seed):
    router, width = ("dendrites", 32) if dendrites else ("none", 8)  # dendrites are the in-projection
    m = memory(weights="separate" if separate else "shared", router=router)
    torch.manual_seed(seed)
    time = sum(lengths)
    x = torch.randn(2, time, 3, width, dtype=torch.float64, requires_grad=True)
    reset = torch.rand(2, time) < 0.3 if with_reset else None
    mask = torch.rand(2, time) < 0.6 if with_mask else None
    first = {k: torch.randn_like(v, dtype=torch.float64).requires_grad_() for k, v in m.initial_state(2).items()}
    valid = torch.ones(2, time, 1, 1) if mask is None else mask[:, :, None, None].double()

    def run(cuts):
        state, ys, start = first, [], 0
        for n in cuts:
            at = slice(start, start + n)
            y, state = m(
                x[:, at],
                state,
                reset=None if reset is None else reset[:, at],
                mask=None if mask is None else mask[:, at],
            )
            ys.append(y)
            start += n
        y = torch.cat(ys, dim=1) * valid
        loss = y.sin().sum() + sum(v.cos().sum() for v in state.values())
        return [y, *state.values(), *torch.autograd.grad(loss, [x, *first.values(), *m.parameters()])]

    for ours, bar in zip(run(lengths), run([time]), strict=True):
        torch.testing.assert_close(ours, bar, rtol=1e-8, atol=1e-10)


def test_reset_is_a_fresh_start_and_mask_is_no_step():
    m = memory()
    x = torch.randn(1, 6, 3, 8, dtype=torch.float64)
    state = {k: torch.randn_like(v, dtype=torch.float64) for k, v in m.initial_state(1).items()}
    before = {k: v.clone() for k, v in state.items()}
    fresh, _ = m(x[:, 2:], m.initial_state(1))
    reset = torch.zeros(1, 6, dtype=torch.bool)
    reset[:, 2] = True
    torch.testing.assert_close(m(x, state, reset=reset)[0][:, 2:], fresh)

    mask = torch.tensor([[True, False, False, True, True, False]])
    y, last = m(x, state, mask=mask)
    y_short, last_short = m(x[:, mask[0]], state)
    torch.testing.assert_close(y[:, mask[0]], y_short)
    for name in last:
        torch.testing.assert_close(last[name], last_short[name])
        assert torch.equal(state[name], before[name])  # the state given was not changed


def test_equals_a_plain_float64_loop():
    """Section 3.4 of the Mamba paper, written out for one neuron with nothing shared with the library."""
    m = memory(neurons=1)
    p = {name: v[0] for name, v in m.named_parameters()}
    x = torch.randn(7, 8, dtype=torch.float64)
    u, z = (x @ p["in_proj.weight"].T).chunk(2, -1)
    h = torch.zeros(16, 4, dtype=torch.float64)
    for t in range(7):
        taps = [u[t - k] if t >= k else torch.zeros(16, dtype=torch.float64) for k in (3, 2, 1, 0)]
        c = F.silu(sum(w * tap for w, tap in zip(p["conv_weight"].T, taps, strict=True)) + p["conv_bias"])
        dt, B, C = (p["x_proj.weight"] @ c).split((1, 4, 4))
        step = torch.log1p(torch.exp(p["dt_proj.weight"] @ dt + p["dt_proj.bias"]))
        h = torch.exp(step[:, None] * -torch.exp(p["A_log"])) * h + step[:, None] * B * c[:, None]
        y = p["out_proj.weight"] @ ((h @ C + p["D"] * c) * F.silu(z[t]))
        torch.testing.assert_close(m(x[None, :, None], m.initial_state(1))[0][0, t, 0], y)


@pytest.mark.parametrize("timescales", ["same", "spread"])
def test_time_constants_start_where_they_should(timescales):
    m = memory(neurons=4, width=64, timescales=timescales).float()
    steps = F.softplus(m.dt_proj.bias.detach())
    assert steps.min() > 0.99e-3
    assert steps.max() < 1.01e-1
    part = ((steps.log() - math.log(1e-3)) / math.log(100) * 4).clamp(0, 3.999)
    if timescales == "spread":
        assert (part.floor() == torch.arange(4)[:, None]).float().mean() > 0.99
    else:
        assert (part.floor() == torch.arange(4)[:, None]).float().mean() < 0.5


def test_flops_see_every_matrix():
    m = memory(neurons=2, width=16).float()
    from torch.utils.flop_counter import FlopCounterMode

    with use_backend("torch"), FlopCounterMode(display=False) as counter:
        m(torch.randn(1, 32, 2, 16), m.initial_state(1))
    matrices = 32 * m.flops()["memory.matrices"]
    readout = 2 * 32 * 2 * 32 * 4  # the scan's product with C, counted under memory.scan by us
    assert counter.get_total_flops() == pytest.approx(matrices + readout)
