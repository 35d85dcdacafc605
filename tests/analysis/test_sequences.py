"""Sequences of a task as they are looked into: each from a fresh state, the loss the model's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from inn.analysis.lesions.cause import mean_bits
from inn.analysis.lesions.lesion import silenced
from inn.analysis.observe import observe
from inn.analysis.recording.sequences import sequences
from inn.analysis.recording.stretches import bits_of, entering, recalled
from inn.config.assemble import model_config
from inn.data.examples import IGNORED, Examples
from inn.inference.examples import evaluate_examples
from inn.models.build import build_model
from inn.models.inn import INN
from inn.system.errors import InputError


def signals(told: str, seed: int = 0) -> Examples:
    """120 signals of two channels, of 9 to 14 steps, some values missing."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(n, 2)).astype(np.float32) for n in rng.integers(9, 15, 120)]
    for x in inputs:
        x[rng.random(x.shape) < 0.1] = np.nan
    if told == "classes":
        targets = [np.where(np.arange(len(x)) == len(x) - 1, rng.integers(3), IGNORED) for x in inputs]
    else:
        targets = [np.append(x[1:], [[np.nan, np.nan]], 0).astype(np.float32) for x in inputs]
    return Examples.of(inputs, targets)


def symbols() -> Examples:
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 5, (60, 8))
    return Examples.equal(inputs, np.where(rng.random((60, 8)) < 0.5, inputs[:, ::-1], IGNORED))


def model(head: str, **fields):
    torch.manual_seed(0)
    if head == "symbols":
        return INN(vocab=5, neurons=2, width=4, rounds=1, recall=[2, 3], slots=64).eval()
    sizes = {"features": 2, "outputs": 3 if head == "classes" else 2, "head": head}
    return build_model(model_config("signal", **sizes, neurons=2, width=4, rounds=2, **fields)).eval()


CASES = [
    ("symbols", symbols(), {}),
    ("classes", signals("classes"), {"pool": "mean"}),
    ("next", signals("next"), {}),
    ("quantiles", signals("next"), {}),
    ("classes", signals("classes"), {"channels": "split"}),
]


@pytest.mark.parametrize("head, examples, fields", CASES, ids=[f"{case[0]}-{i}" for i, case in enumerate(CASES)])
def test_the_loss_is_that_of_the_sequences_alone(head, examples, fields, monkeypatch):
    m, text = model(head, **fields), sequences(examples, 400)
    monkeypatch.setattr("inn.analysis.recording.stretches.window", lambda *_: 5)  # the state is carried over windows
    bits = torch.cat([bits_of(m, part, entering(m, part, recalled(m, part))) for part in text.groups()])
    places = text.places.flatten().numpy()
    for i in range(len(examples)):  # whole sequences only: one may be cut at the end of a row
        at = np.flatnonzero((places >= examples.starts[i]) & (places < examples.starts[i + 1]))
        if len(at) == examples.lengths[i]:
            alone = evaluate_examples(m, examples.take(np.array([i]))) if examples.take(np.array([i])).counted else None
            here = bits.flatten()[at]
            assert (alone is None) == bool(here.isnan().all())
            if alone is not None and head in ("symbols", "classes"):
                assert float(mean_bits(here)) == pytest.approx(alone.bits, rel=1e-4)
    whole = evaluate_examples(m, examples).nats / math.log(2)
    assert float(mean_bits(bits)) == pytest.approx(whole, rel=0.2)


@pytest.mark.parametrize("head, examples, fields", CASES[:2], ids=["symbols", "classes"])
def test_neurons_are_observed_and_silenced(head, examples, fields):
    m, text = model(head, **fields), sequences(examples, 400)
    seen = observe(m, text)
    assert seen.activity.shape == (m.config.rounds, *text.inputs.shape[:2], 2)
    part = next(text.groups())
    x = entering(m, part, recalled(m, part))
    with silenced(m, [0]):
        lesioned = bits_of(m, part, x)
    assert not torch.equal(lesioned.nan_to_num(), bits_of(m, part, x).nan_to_num())


def test_rows_hold_whole_sequences_and_targets_to_come():
    found = sequences(signals("classes"), 400)
    assert found.begins[:, 0].all()
    coming = found.coming()
    for k, a, b in found.pieces():
        label = found.targets[k, b - 1]
        if label != IGNORED:  # not cut
            assert (coming[k, a:b] == int(label)).all()
    streams = found.streams(8)
    assert streams is not None
    assert streams.begins.sum() == len(streams.begins)
    assert streams.warmup == streams.given.shape[1] // 4


def test_too_few_are_refused():
    with pytest.raises(InputError, match="2 sequences of 20 steps are too few"):
        sequences(Examples.equal(np.zeros((2, 10), np.int64), np.zeros((2, 10), np.int64)))
