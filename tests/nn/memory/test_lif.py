"""Integrate-and-fire memories: potentials, decay and reset exactly as a plain float64 loop has them; gradients."""

import math

import pytest
import torch

import inn
import inn.testing
from inn.config.assemble import graph_config
from inn.nn.memory.lif import LIF
from inn.nn.memory.plif import PLIF
from inn.system.errors import InputError


def memory(kind="lif", **options):
    torch.manual_seed(0)
    config = graph_config(neurons=3, width=4, memory=kind, memory_options=options, router="none")
    return (PLIF if kind == "plif" else LIF)(config).double()


class Fires(torch.autograd.Function):
    """The published surrogate, written out: alpha / 2 / (1 + (pi / 2 alpha v)^2), alpha = 2."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v >= 0).double()

    @staticmethod
    def backward(ctx, g):
        return g / (1 + (math.pi * ctx.saved_tensors[0]) ** 2)


def naive(m, x, v, leak, reset, mask):
    """Unit by unit and step by step; `leak` None integrates."""
    out = []
    for t in range(x.shape[1]):
        v = torch.where(reset[:, t, None, None], 0.0, v)
        current = torch.einsum("bni,noi->bno", x[:, t], m.in_proj.weight)
        new = v + current if leak is None else v + (current - v) * leak
        s = Fires.apply(new - m.threshold)
        new = new * (1 - s.detach()) if m.reset == "hard" else new - m.threshold * s
        v = torch.where(mask[:, t, None, None], new, v)
        out.append(torch.einsum("bni,noi->bno", s, m.out_proj.weight))
    return torch.stack(out, 1), v


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize(("kind", "tau"), [("lif", 2.0), ("lif", 7.5), ("lif", None), ("plif", 3.0)])
def test_equals_a_plain_float64_loop_with_its_gradients(kind, tau, reset):
    m = memory(kind, tau=tau, reset=reset)
    x = (2 * torch.randn(2, 12, 3, 4)).double().requires_grad_()
    v = torch.randn(2, 3, 8).double().requires_grad_()
    resets, mask = torch.rand(2, 12) < 0.1, torch.rand(2, 12) < 0.8
    y, new = m(x, {"v": v}, reset=resets, mask=mask)
    leak = torch.sigmoid(m.w) if kind == "plif" else None if tau is None else 1 / tau
    bar, end = naive(m, x, v, leak, resets, mask)
    torch.testing.assert_close(y[mask], bar[mask], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(new["v"], end, rtol=1e-9, atol=1e-10)
    assert bar[mask].abs().min(-1).values.gt(0).any()  # something fires
    wanted = [x, v, *m.parameters()]
    grads = (torch.autograd.grad(a[mask].sin().sum() + b.cos().sum(), wanted) for a, b in ((y, new["v"]), (bar, end)))
    for ours, its in zip(*grads, strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-8, atol=1e-9)


def test_a_unit_below_its_threshold_decays_and_one_above_starts_again():
    m = memory(tau=4.0)
    nothing = torch.zeros(1, 3, 3, 4, dtype=torch.float64)
    v = torch.full((1, 3, 8), 0.4, dtype=torch.float64)
    torch.testing.assert_close(m(nothing, {"v": v})[1]["v"], v * 0.75**3, rtol=1e-12, atol=0)
    torch.testing.assert_close(m(nothing[:, :1], {"v": v * 10})[1]["v"], 0 * v)
    soft = memory(tau=4.0, reset="soft")
    torch.testing.assert_close(soft(nothing[:, :1], {"v": v * 10})[1]["v"], v * 7.5 - 0.5, rtol=1e-12, atol=0)


def test_an_integrator_counts_what_it_is_given():
    """Currents of a quarter of the threshold: a spike at every fourth step, without a leak and with the soft reset."""
    m = memory(tau=None, reset="soft")
    spikes, _ = m.fire(torch.full((1, 40, 3, 8), 0.125).double(), m.initial_state(1), None, None, None)
    assert torch.equal(spikes[0, :, 0, 0].reshape(10, 4), torch.tensor([0, 0, 0, 1.0]).double().expand(10, 4))


@pytest.mark.parametrize("kind", ["lif", "plif"])
def test_contract_of_the_soft_reset(kind):
    inn.testing.check_memory(kind, reset="soft", expand=1, tau=5.0)


def test_time_constants():
    x, n = torch.zeros(1, 2, 3, 4).double(), torch.full((3, 8), -1 / math.log(0.75)).double()
    for kind in ("lif", "plif"):
        m = memory(kind, tau=4.0)
        torch.testing.assert_close(m.time_constants(x, m.initial_state(1)), n, rtol=1e-6, atol=0)
    assert memory(tau=None).time_constants(x, {}) is None


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("lif", {"tau": 0.5}, "tau must be at least 1, not 0.5"),
        ("plif", {"tau": 1.0}, "tau must be above 1 step, not 1.0"),
        ("lif", {"threshold": 0.0}, "threshold must be above 0, not 0.0: a unit at rest would fire"),
        ("lif", {"reset": "firm"}, "reset cannot be 'firm'"),
    ],
)
def test_what_cannot_be_is_refused(kind, options, said):
    with pytest.raises(InputError, match=said):
        inn.INN(vocab=5, memory=kind, memory_options=options)
