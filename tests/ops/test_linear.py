"""Linear maps of a population against the loop over neurons."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.ops import neuron_linear


@given(
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_equals_reference_with_gradients(batch, time, neurons, inputs, outputs, separate, bias):
    kind = {"dtype": torch.float64, "requires_grad": True}
    p = neurons if separate else 1
    x, w = torch.randn(batch, time, neurons, inputs, **kind), torch.randn(p, outputs, inputs, **kind)
    b = torch.randn(p, outputs, **kind) if bias else None
    args = [a for a in (x, w, b) if a is not None]
    results = []
    for backend in ("reference", "torch"):
        y = neuron_linear.backends[backend].run(x, w, b)
        results.append([y, *torch.autograd.grad(y.square().sum(), args)])
    for ours, bar in zip(*results, strict=True):
        torch.testing.assert_close(ours, bar)


def test_neuron_major_results_are_read_without_copies():
    x = torch.randn(2, 5, 3, 4)
    y = neuron_linear(x, torch.randn(3, 8, 4))
    assert y.shape == (2, 5, 3, 8)
    assert y.flatten(0, 1).transpose(0, 1).is_contiguous()  # what the next map reads is already in order


@pytest.mark.parametrize("separate", [False, True])
def test_one_neuron_does_not_see_another(separate):
    x = torch.randn(1, 4, 3, 4)
    w = torch.randn(3 if separate else 1, 5, 4)
    changed = x.clone()
    changed[:, :, 1] += 1
    difference = (neuron_linear(changed, w) - neuron_linear(x, w)).abs().amax((0, 1, 3))
    assert difference[1] > 0
    assert difference[0] == 0
    assert difference[2] == 0
