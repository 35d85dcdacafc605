"""Scores by blocks and by age, against numbers worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import inn
from inn.inference.evaluate import evaluate
from inn.runs.load import load_with_data
from inn_studies.compare import BLOCKS, bits_by_age, block_bits


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
    model = inn.models.build.build_model(inn.config.assemble.model_config("ngram", vocab=5, order=2))
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
