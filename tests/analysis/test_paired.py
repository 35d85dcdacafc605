"""Leads and their intervals, against numbers worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.analysis.controls.paired import paired_difference


def test_a_lead_is_the_mean_difference_with_the_better_first():
    found = paired_difference([[1.0, 2.0], [1.2, 2.2]], [[1.5, 2.5], [1.7, 2.7]])
    assert (found.seeds, found.blocks) == (2, 2)
    assert found.bits == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5)  # the same difference everywhere: nothing to be unsure of
    assert str(found) == "+0.500 [+0.500, +0.500]"


@given(st.integers(0, 99), st.integers(1, 4), st.integers(2, 40))
def test_the_interval_holds_the_mean_and_is_that_of_the_other_side_turned_round(seed, seeds, blocks):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(2, 0.1, (2, seeds, blocks))
    found, other = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert found.low <= found.bits <= found.high
    assert (other.bits, other.low, other.high) == pytest.approx((-found.bits, -found.high, -found.low), abs=1e-12)


def test_the_interval_covers_as_often_as_it_says():
    """Many seeds and blocks drawn around a known lead: 95 % intervals hold it about 95 % of the time."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        seeds, blocks = rng.normal(0, 0.02, (12, 1)), rng.normal(0, 0.05, (1, 40))
        found = paired_difference(np.zeros((12, 40)), 0.1 + seeds + blocks)
        held += found.low <= 0.1 <= found.high
    assert 50 <= held <= 60


def test_few_seeds_that_disagree_leave_it_open():
    assert paired_difference([[1.0] * 8, [1.0] * 8], [[1.1] * 8, [0.95] * 8]).low < 0
