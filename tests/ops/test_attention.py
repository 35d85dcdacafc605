"""Attention over neurons against the loop over neurons."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.ops import neuron_attention


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
        message, weights = neuron_attention.backends[backend].run(*qkv, edges)
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
    message, weights = neuron_attention(q, k, v, None, 0.5)
    assert (message != 1).any()
    assert abs(message.mean().item() - 1) < 0.1
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 400, 1, 4))  # recorded before dropout
