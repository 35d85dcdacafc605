"""Attention over neurons against the loop over neurons."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.ops import neuron_attention, use_backend


def on_cpu(*args):
    """The attention by the C++ kernel, which this builds and loads where it is not there yet."""
    with use_backend("cpu"):
        return neuron_attention(*args)


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 99),
)
def test_equals_reference_with_gradients(batch, time, neurons, heads, width, masked, seed):
    torch.manual_seed(seed)
    qkv = [torch.randn(batch, time, neurons, heads, width, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    edges = torch.rand(neurons, neurons) < 0.5 if masked else None  # rows without any edge included
    results = []
    for backend in ("reference", "torch"):
        message, weights = neuron_attention.backends[backend].run(*qkv, edges, want_weights=True)
        results.append([message, weights, *torch.autograd.grad(message.pow(3).sum(), qkv)])
    for ours, bar in zip(*results, strict=True):
        torch.testing.assert_close(ours, bar)
    weights = results[1][1]
    heard = torch.ones(neurons, dtype=torch.bool) if edges is None else edges.any(1)
    torch.testing.assert_close(weights.sum(-1), heard.double().expand(batch, time, heads, neurons))


def test_dropout_drops_weights_and_keeps_the_mean():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 400, 4, 1, 8)
    v = torch.ones(1, 400, 4, 1, 8)
    message, weights = neuron_attention(q, k, v, None, 0.5, want_weights=True)
    assert (message != 1).any()
    assert abs(message.mean().item() - 1) < 0.1
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 400, 1, 4))  # recorded before dropout


@given(
    st.integers(1, 2), st.integers(1, 20), st.integers(1, 6), st.integers(1, 3), st.integers(1, 18), st.booleans(),
    st.sampled_from([torch.float32, torch.bfloat16]), st.integers(0, 99),
)  # fmt: skip
def test_the_cpu_kernel_equals_the_reference(batch, time, neurons, heads, width, masked, kind, seed):
    torch.manual_seed(seed)
    # laid out neuron by neuron, as separate weights leave them
    shape = (neurons, batch, time, heads, width)
    qkv = [torch.randn(shape).to(kind).permute(1, 2, 0, 3, 4).requires_grad_() for _ in range(3)]
    edges = torch.rand(neurons, neurons) < 0.5 if masked else None
    grad = torch.randn(batch, time, neurons, heads, width).to(kind)
    ours, nothing = on_cpu(*qkv, edges)
    assert nothing is None
    exact = [a.detach().double().requires_grad_() for a in qkv]
    bar, _ = neuron_attention.backends["reference"].run(*exact, edges)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if kind == torch.float32 else {"rtol": 0.02, "atol": 0.05}
    torch.testing.assert_close(ours.double(), bar, **tolerance)
    with torch.no_grad():  # the routing weights too
        again, weights = on_cpu(*qkv, edges, 0.0, True)
        assert torch.equal(again, ours)
        shares = neuron_attention.backends["reference"].run(*exact, edges, want_weights=True)[1]
        torch.testing.assert_close(weights.double(), shares, **tolerance)
    gradients = zip(torch.autograd.grad(ours, qkv, grad), torch.autograd.grad(bar, exact, grad.double()), strict=True)
    for a, b in gradients:
        torch.testing.assert_close(a.double(), b, **tolerance)


def test_the_cpu_kernel_drops_the_same_weights_in_both_directions():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 21, 5, 2, 6).unbind(0)

    def dropped(*args):
        torch.manual_seed(3)
        return on_cpu(*args, None, 0.3)[0]

    weight = torch.randn_like(v)
    # linear in v: a finite difference is exact but for rounding
    gradient = torch.autograd.grad((dropped(q, k, v.requires_grad_()) * weight).sum(), v)[0]
    direction = torch.randn_like(v)
    difference = ((dropped(q, k, v + direction) - dropped(q, k, v)) * weight).sum()
    torch.testing.assert_close(difference, (gradient * direction).sum(), rtol=1e-4, atol=1e-3)
    assert not torch.equal(dropped(q, k, v), on_cpu(q, k, v)[0])
    ones = on_cpu(torch.zeros(1, 400, 4, 1, 8), torch.zeros(1, 400, 4, 1, 8), torch.ones(1, 400, 4, 1, 8), None, 0.5)[0]
    assert abs(ones.mean().item() - 1) < 0.1
    assert 0.04 < (ones == 0).float().mean() < 0.09  # all four edges dropped: 1/16


def test_the_cpu_kernel_does_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 4, 100, 6, 2, 16).requires_grad_().unbind(0)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        out, _ = on_cpu(q, k, v, None, 0.1)
        results.append([out, *torch.autograd.grad(out.square().sum(), (q, k, v))])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_cpu_kernel_keeps_the_layout():
    q = torch.randn(3, 2, 5, 2, 4).permute(1, 2, 0, 3, 4)  # neuron by neuron
    assert on_cpu(q, q, q)[0].stride() == q.stride()
