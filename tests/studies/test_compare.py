"""Leads, intervals, and scores by blocks and by age, against numbers worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import inn
from inn.commands.evaluate import load_with_data
from inn.evaluation import evaluate
from inn.studies.compare import BLOCKS, bits_by_age, block_bits, lead


def test_a_lead_is_the_mean_difference_with_the_better_first():
    found = lead([[1.0, 2.0], [1.2, 2.2]], [[1.5, 2.5], [1.7, 2.7]])
    assert (found.seeds, found.blocks) == (2, 2)
    assert found.bits == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5)  # the same difference everywhere: nothing to be unsure of
    assert str(found) == "+0.500 [+0.500, +0.500]"


@given(st.integers(0, 99), st.integers(1, 4), st.integers(2, 40))
def test_the_interval_holds_the_mean_and_is_that_of_the_other_side_turned_round(seed, seeds, blocks):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(2, 0.1, (2, seeds, blocks))
    found, other = lead(ours, theirs), lead(theirs, ours)
    assert found.low <= found.bits <= found.high
    assert (other.bits, other.low, other.high) == pytest.approx((-found.bits, -found.high, -found.low), abs=1e-12)


def test_the_interval_covers_as_often_as_it_says():
    """Many seeds and blocks drawn around a known lead: 95 % intervals hold it about 95 % of the time."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        seeds, blocks = rng.normal(0, 0.02, (12, 1)), rng.normal(0, 0.05, (1, 40))
        found = lead(np.zeros((12, 40)), 0.1 + seeds + blocks)
        held += found.low <= 0.1 <= found.high
    assert 50 <= held <= 60


def test_few_seeds_that_disagree_leave_it_open():
    assert lead([[1.0] * 8, [1.0] * 8], [[1.1] * 8, [0.95] * 8]).low < 0


def test_blocks_of_a_run_add_up_to_its_score(lab, job):
    (run,) = lab.train([job("small")])
    blocks = block_bits(str(run.path), "valid")
    model, dataset = load_with_data(str(run.path))
    whole = evaluate(model, dataset.valid, blocks=BLOCKS)
    assert len(blocks) == BLOCKS
    assert sum(part.count for part in whole.parts) == whole.count
    assert max(p.count for p in whole.parts) - min(p.count for p in whole.parts) <= 1
    assert sum(b * p.count for b, p in zip(blocks, whole.parts, strict=True)) / whole.count == pytest.approx(whole.bits)


@given(st.integers(2, 200), st.integers(1, 9), st.integers(1, 5), st.integers(1, 40))
def test_blocks_are_the_same_whatever_the_streams(symbols, blocks, streams, window):
    """A bigram table predicts from one symbol alone, so how a text is read changes nothing."""
    model = inn.models.build_model(inn.config.model_config("ngram", vocab=5, order=2))
    model.fit(np.random.default_rng(0).integers(5, size=300))
    text = np.random.default_rng(1).integers(5, size=symbols)
    one = evaluate(model, text, blocks=blocks)
    many = evaluate(model, text, blocks=blocks, streams=streams, window=window, warmup=2)
    assert [p.count for p in one.parts] == [p.count for p in many.parts]
    assert [p.nats_total for p in one.parts] == pytest.approx([p.nats_total for p in many.parts], abs=1e-4)


def test_bits_by_age_start_from_fresh_states(lab, job):
    (run,) = lab.train([job("small")])
    model, dataset = load_with_data(str(run.path))
    found = bits_by_age(str(run.path), "train")
    length = min((len(dataset.train) - 1) // BLOCKS, 65536)
    by_hand = [evaluate(model, dataset.train[i * length : (i + 1) * length + 1][:257]).bits for i in range(BLOCKS)]
    assert found["0-256"] == pytest.approx(np.mean(by_hand), rel=1e-5)
