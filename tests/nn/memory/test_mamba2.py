"""The Mamba-2 and complex memories: contract, the published recurrences, what turning adds."""

import math

import pytest
import torch
import torch.nn.functional as F

import inn
from inn.nn.memory.complex import Complex
from inn.nn.memory.mamba2 import Mamba2
from inn.testing import check_memory


def memory(kind, **options):
    torch.manual_seed(0)
    config = inn.graph_config(neurons=1, width=8, router="none", memory=kind, memory_options=options)
    return {"mamba2": Mamba2, "complex": Complex}[kind](config).double()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("mamba2", {}),
        ("mamba2", {"heads": 1, "conv": 1}),
        ("complex", {}),
        ("complex", {"state": 5, "heads": 4}),
        ("complex", {"trapezoid": True}),
    ],
)
def test_contract(kind, options):
    check_memory(kind, **options)


@pytest.mark.parametrize("trapezoid", [None, False, True])
def test_equals_the_published_recurrence(trapezoid):
    """Section 2 of arXiv 2405.21060; complex: pairs of states as complex numbers, each times e^{Δ A + i θ}."""
    H, K, V, E, T = 2, 5, 8, 16, 9
    turns, options = trapezoid is not None, {} if trapezoid is None else {"trapezoid": trapezoid}
    m = memory("complex" if turns else "mamba2", state=K, **options)
    with torch.no_grad():
        for p in m.parameters():
            p.add_(0.2 * torch.randn_like(p))
    p = {name: v[0] for name, v in m.named_parameters()}
    x = torch.randn(T, 8, dtype=torch.float64)
    sizes = (E + 2 * K, E, *([2] if turns else []), *([H] if trapezoid else []), *([H] if turns else []), H)
    u, z, *others = (x @ p["in_proj.weight"].T).split(sizes, -1)
    h = torch.zeros(H, V, 2, dtype=torch.complex128)  # two turning pairs, and the fifth number
    rest, zero = torch.zeros(H, V, dtype=torch.float64), torch.zeros(E + 2 * K, dtype=torch.float64)
    before = (zero[:E].view(H, V), zero[:K])
    for t in range(T):
        taps = [u[t - i] if t >= i else zero for i in (3, 2, 1, 0)]
        c = F.silu(sum(w * tap for w, tap in zip(p["conv_weight"].T, taps, strict=True)) + p["conv_bias"])
        values, B, C = c.split((E, K, K))
        values, y = values.view(H, V), []
        angle = torch.zeros(2, dtype=torch.float64)
        if turns:
            angle = math.pi * (others[0][t] * p["angle_gain"] + p["angle_bias"]).clamp(-1, 1)
        for i in range(H):
            step = torch.log1p(torch.exp(others[-1][t, i] + p["dt_bias"][i]))
            A = -torch.log1p(torch.exp(others[-2][t, i] + p["A_bias"][i])) if turns else -p["A_log"][i].exp()
            share = torch.sigmoid(others[1][t, i] + p["share_bias"][i]) if trapezoid else 1.0
            alpha = torch.exp(step * A)

            def pairs(b):
                return b[:2] + 1j * b[2:4]

            old, new = (1 - share) * step * alpha, share * step
            h[i] = torch.exp(step * A + 1j * angle) * h[i] + new * values[i][:, None] * pairs(B)
            h[i] += old * torch.exp(1j * angle) * before[0][i][:, None] * pairs(before[1])
            rest[i] = alpha * rest[i] + new * values[i] * B[4] + old * before[0][i] * before[1][4]
            y.append((h[i] * pairs(C).conj()).real.sum(-1) + rest[i] * C[4] + p["D"][i] * values[i])
        before = (values, B)
        y = p["out_proj.weight"] @ (torch.cat(y) * F.silu(z[t]))
        torch.testing.assert_close(m(x[None, :, None], m.initial_state(1))[0][0, t, 0], y)
    last = m(x[None, :, None], m.initial_state(1))[1]["matrix"][0, 0]
    torch.testing.assert_close(last, torch.cat((h.real, h.imag, rest[..., None]), -1).mT)


def test_a_long_stretch_turns_as_far_as_many_short_ones():
    """In single precision: angles are summed up over thousands of steps."""
    m = memory("complex").float()
    x = torch.randn(1, 4000, 1, 8)
    with torch.no_grad():
        m.angle_bias.fill_(0.8)  # near half a turn each
        m.A_bias.fill_(-20.0)
        state = m.initial_state(1)
        whole, last = m(x, state)
        for part in x.split(100, 1):
            y, state = m(part, state)
    torch.testing.assert_close(state["matrix"], last["matrix"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(y, whole[:, -100:], rtol=1e-3, atol=1e-3)


def test_half_a_turn_counts_a_sign():
    """Parity at length 1,000 by weights that are written down: a one is half a turn of every pair, a zero none."""
    m = memory("complex", conv=1, heads=1).float()
    bits = torch.randint(0, 2, (4, 1000))
    bits[:, 0] = 1  # something is written at the first step, and nothing after it
    x = torch.zeros(4, 1000, 1, 8)
    x[..., 0, 0], x[:, 0, 0, 1] = bits.float(), 1.0
    with torch.no_grad():
        for p in m.parameters():
            p.zero_()
        u, z, angle = (m.in_proj.weight[0, i:] for i in (0, 48, 64))
        u[0, 1] = 10.0  # a value, at the first step
        m.conv_weight.fill_(1.0)
        m.conv_bias[0, 16:] = 1.0  # keys and queries
        m.A_bias.fill_(-30.0)
        m.angle_gain.fill_(1.0)
        angle[:8, 0] = 1.5  # beyond half a turn, and cut off there
        z[:16, 1], m.D[:] = 0.0, 0.0
        y = m.recall(*_recalled(m, x))[0][:, :, 0, 0]
    odd = bits.cumsum(1) % 2 == 1
    assert torch.equal(y > 0, odd)
    torch.testing.assert_close(y.abs(), y[:, :1].abs().expand_as(y), rtol=1e-3, atol=0)


def _recalled(m, x):
    """What `recall` is given of an input."""
    u, _, *others = m.read(x)
    state = m.initial_state(len(x))
    return F.silu(u * m.conv_weight[..., 0] + m.conv_bias), others, state, None, None


@pytest.mark.parametrize("kind", ["mamba2", "complex"])
def test_time_constants(kind):
    m = memory(kind, dt_min=0.01, dt_max=0.01, heads=4)
    x, state = torch.zeros(1, 5, 1, 8, dtype=torch.float64), m.initial_state(1)
    rate = F.softplus(m.A_bias) if kind == "complex" else m.A_log.exp()
    torch.testing.assert_close(m.time_constants(x, state), 1 / (0.01 * rate.detach()), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("kind", "options"), [("delta", {"products": 2}), ("mamba2", {}), ("complex", {"trapezoid": True})]
)
def test_half_precision_and_steps_of_a_model(kind, options):
    torch.manual_seed(0)
    model = inn.INN(vocab=11, neurons=3, width=8, rounds=2, recall=[], memory=kind, memory_options=options)
    x = torch.randint(11, (2, 12))
    bar, state = model(x)[0], None
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)[0]
    y.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    torch.testing.assert_close(y.float(), bar, rtol=0, atol=0.05)
    steps = []
    for t in range(12):
        y, state = model.step_(x[:, t], state)
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps, 1), bar, rtol=1e-4, atol=1e-5)
    half, after = model.bfloat16()(x)
    assert half.dtype == torch.bfloat16
    assert all(t.dtype == torch.float32 for t in after.to_tensors().values() if t.is_floating_point())
    torch.testing.assert_close(half.float(), bar, rtol=0, atol=0.05)
