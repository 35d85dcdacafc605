"""The range coder alone: what goes in comes out, in as many bytes as its shares are worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.inference.coding.ranges import TOTAL, RangeDecoder, RangeEncoder, whole_shares


def coded(symbols, counts) -> bytes:
    encoder = RangeEncoder()
    for symbol, row in zip(symbols, counts):
        encoder.put(int(row[:symbol].sum()), int(row[symbol]))
    return encoder.finish()


def decoded(content, counts) -> list[int]:
    decoder = RangeDecoder(content)
    return [decoder.get(np.cumsum(row)) for row in counts]


@given(
    vocab=st.integers(1, 300), n=st.integers(0, 120), sharpness=st.sampled_from([0.0, 1.0, 10.0, 200.0]),
    likely=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_what_goes_in_comes_out_in_the_bytes_it_is_worth(vocab, n, sharpness, likely, seed):
    draw = np.random.default_rng(seed)
    logits = sharpness * draw.standard_normal((n, vocab))
    counts = whole_shares(logits)[0] if n else np.zeros((0, vocab), np.int64)
    symbols = counts.argmax(1) if likely else draw.integers(vocab, size=n)
    content = coded(symbols, counts)
    assert decoded(content, counts) == symbols.tolist()
    worth = sum(math.log2(TOTAL / row[s]) for s, row in zip(symbols, counts))
    assert 8 * len(content) <= worth + n * 2**-20 + 16


def test_carries_run_through_bytes_of_255():
    """Symbols at the top end of the range, again and again, and then one that carries over all of them."""
    top = np.array([TOTAL - 1, 1])
    for n in range(1, 40):
        for last in (0, 1):
            counts = [top] * n + [np.array([TOTAL // 3, TOTAL - TOTAL // 3])] * 9
            symbols = [1] * n + [last] * 9
            assert decoded(coded(symbols, counts), counts) == symbols


@given(
    logits=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
)
def test_shares_add_up_and_leave_nothing_out(logits):
    counts, chances = whole_shares(np.array([logits], dtype=np.float32))
    assert counts.sum() == TOTAL
    assert counts.min() >= 1
    assert chances.sum() == pytest.approx(1)
    assert np.abs(counts / TOTAL - chances).max() <= (len(logits) + 1) / TOTAL * 2


def test_shares_are_the_softmax_in_float64():
    logits = np.random.default_rng(0).standard_normal((5, 27)) * 4
    counts, chances = whole_shares(logits)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(chances, expected, rtol=1e-12)
    np.testing.assert_allclose(counts / TOTAL, expected, atol=30 / TOTAL)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_predictions_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="no number"):
        whole_shares(np.array([[0.0, bad]]))


def test_a_decoder_of_nonsense_still_ends():
    ends = np.cumsum(whole_shares(np.zeros((1, 7)))[0][0])
    decoder = RangeDecoder(b"\xff" * 5)
    assert all(0 <= decoder.get(ends) < 7 for _ in range(100))
