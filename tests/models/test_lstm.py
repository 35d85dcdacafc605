"""The LSTM against PyTorch's own, and how its time axis is cut."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.models.recurrent import segments


@pytest.mark.parametrize("tied", [False, True])
def test_it_is_the_lstm_of_pytorch_with_a_head(build, tied):
    model = build("lstm", tied=tied)
    x = torch.randint(7, (3, 9))
    y, (h, c) = model.lstm(model.embedding(x))
    logits, state = model(x)
    torch.testing.assert_close(logits, y @ (model.embedding if tied else model.head).weight.T + model.head.bias)
    for layer in range(2):
        torch.testing.assert_close(state[layer, "h"][:, 0], h[layer])
        torch.testing.assert_close(state[layer, "c"][:, 0], c[layer])


@given(seed=st.integers(0, 999), steps=st.integers(1, 9))
def test_segments_cover_the_time_axis_and_nothing_happens_inside_one(seed, steps):
    torch.manual_seed(seed)
    reset, mask = torch.rand(2, steps) < 0.2, torch.rand(2, steps) < 0.7
    found = segments(steps, reset, mask)
    assert [t for start, end in found for t in range(start, end)] == list(range(steps))
    for start, end in found:
        assert not reset[:, start + 1 : end].any()
        assert (mask[:, start:end] == mask[:, start : start + 1]).all()


def test_without_reset_inside_one_call_of_the_fused_kernel_is_enough():
    reset, mask = torch.zeros(2, 6, dtype=torch.bool), torch.ones(2, 6, dtype=torch.bool)
    reset[0, 0] = True
    assert segments(6, reset, mask) == segments(6, None, None) == [(0, 6)]
