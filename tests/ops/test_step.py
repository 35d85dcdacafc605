"""One step in place against the ops that a sequence runs through, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.ops import memory_step, use_backend


def tensors(batch, neurons, width, channels, states, taps, rank, separate, seed):
    torch.manual_seed(seed)
    P = neurons if separate else 1
    shapes = [
        (batch, 1, neurons, width), (P, 2 * channels, width), (P, channels, taps), (P, channels),
        (P, rank + 2 * states, channels), (P, channels, rank), (P, channels), (P, channels, states), (P, channels),
        (P, width, channels), (batch, neurons, taps - 1, channels), (batch, neurons, channels, states),
    ]  # fmt: skip
    return [torch.randn(shape) for shape in shapes]


@given(
    st.integers(1, 5), st.integers(1, 4), st.sampled_from([1, 8, 20]), st.sampled_from([1, 15, 16, 33, 64]),
    st.sampled_from([1, 4, 16, 19]), st.integers(1, 4), st.integers(1, 5), st.booleans(), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_equals_the_ops_it_is_made_of(batch, neurons, width, channels, states, taps, rank, separate, into, seed):
    ours = tensors(batch, neurons, width, channels, states, taps, rank, separate, seed)
    if not into:  # what dendrites bring in needs no projection
        ours[:2] = torch.randn(batch, 1, neurons, 2 * channels), None
    exact = [None if t is None else t.double() for t in ours]
    for _ in range(3):
        with use_backend("cpu"):
            y = memory_step(*ours)
        with use_backend("reference"):
            bar = memory_step.backends["torch"].run(*exact)
        for a, b in ((y, bar), *zip(ours[-2:], exact[-2:], strict=True)):
            scale = b.abs().max().item() + 1.0 if b.numel() else 1.0
            torch.testing.assert_close(a.double() / scale, b / scale, rtol=1e-4, atol=1e-5)


def test_says_why_it_cannot_take_a_call():
    args = tensors(1, 2, 4, 8, 4, 4, 2, True, 0)
    assert memory_step.choose(*args)[0].name == "cpu"
    args[1].requires_grad_()
    assert "gradient" in memory_step.choose(*args)[1]["cpu"]
    with torch.no_grad():
        assert memory_step.choose(*args)[0].name == "cpu"
        assert "float64" in memory_step.choose(*(a.double() for a in args))[1]["cpu"]


def test_without_an_in_projection_it_takes_what_one_would_give():
    args = tensors(2, 3, 4, 8, 4, 4, 2, True, 0)
    projected = torch.einsum("btnd,ned->btne", args[0], args[1])
    state = [t.clone() for t in args[-2:]]
    with torch.no_grad(), use_backend("cpu"):
        y = memory_step(*args)
        torch.testing.assert_close(memory_step(projected, None, *args[2:-2], *state), y)
        by_neuron = projected.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3)
        memory_step(by_neuron, None, *args[2:-2], *state)
        memory_step(*args)
        for a, b in zip(state, args[-2:], strict=True):
            torch.testing.assert_close(a, b)
        with pytest.raises(RuntimeError, match="x"):
            memory_step(args[0], None, *args[2:])


def test_a_state_that_is_not_dense_is_changed_in_place_too():
    args = tensors(2, 3, 4, 8, 4, 4, 2, True, 0)
    strided = [*args[:-2], *(t.mT.contiguous().mT for t in args[-2:])]
    with torch.no_grad(), use_backend("cpu"):
        torch.testing.assert_close(memory_step(*strided), memory_step(*args))
    for a, b in zip(strided[-2:], args[-2:], strict=True):
        torch.testing.assert_close(a, b)
