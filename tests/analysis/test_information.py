"""Mutual information, on joint distributions whose bits are known, and on nothing at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from inn.analysis.measures.information import information, levels, mutual_information
from inn.system.errors import InputError


def test_bits_of_known_tables():
    assert mutual_information(torch.eye(4) * 1e6).item() == pytest.approx(2, abs=1e-4)
    assert mutual_information(torch.full((3, 5), 1e6)).item() == pytest.approx(0, abs=1e-5)
    assert mutual_information(torch.tensor([[3e6, 1e6], [1e6, 3e6]])).item() == pytest.approx(1 - 0.811278, abs=1e-5)
    assert mutual_information(torch.zeros(2, 2)).item() == 0
    assert mutual_information(torch.tensor([[5.0, 7.0], [0.0, 0.0]])).item() == pytest.approx(0)  # one level: no bias


def test_the_bias_of_counting_is_taken_off():
    """Independent pairs give no bits on average; the plug-in estimate would give (X - 1)(Y - 1) / 2 S ln 2."""
    draw = np.random.default_rng(0)
    S, found = 200, []
    for _ in range(400):
        table = torch.zeros(8, 2)
        for x, y in zip(draw.integers(8, size=S), draw.random(S) < 0.4, strict=True):
            table[x, int(y)] += 1
        found.append(mutual_information(table).item())
    bias = 7 / (2 * S * math.log(2))
    assert abs(np.mean(found)) < 0.15 * bias


def test_levels_are_quantiles_and_ties_share_one():
    assert torch.bincount(levels(torch.randperm(800)[:, None].float())[:, 0]).tolist() == [100] * 8
    assert levels(torch.full((50, 1), 3.0)).max() == 0
    spikes = torch.zeros(100, 1)
    spikes[::10] = torch.arange(1.0, 11.0)[:, None]
    assert (levels(spikes)[:, 0] > 0).sum() == 10  # rare spikes stand out from silence


def test_it_is_blind_to_any_monotonous_scale():
    activity, label = torch.rand(2000, 3), {"a": np.random.default_rng(0).random(2000) < 0.5}
    one, other = (information(x, label, shuffles=5)["a"].bits for x in (activity, (activity * 7).exp()))
    assert torch.equal(one, other)


@pytest.mark.slow
def test_a_slow_neuron_and_slow_labels_need_blocks():
    """Two things that drift slowly seem to tell of each other; whole blocks moved keep that, single symbols do not."""
    generator = np.random.default_rng(0)
    wrong = {1: 0, 256: 0}
    for _ in range(20):
        drift = np.repeat(generator.random(32), 128)
        label = np.repeat(generator.random(32) < 0.5, 128)
        for block in wrong:
            of = information(torch.from_numpy(drift)[:, None].float(), {"a": label}, block=block, shuffles=40)["a"]
            wrong[block] += int(of.bits[0] > of.null[0])
    assert wrong[1] == 20
    assert wrong[256] <= 6


def test_many_neurons_are_each_their_own():
    activity = torch.rand(1000, 20)
    label = {"high": (activity[:, 17] > activity[:, 17].median()).numpy(), "never": np.zeros(1000, dtype=bool)}
    found = information(activity, label, shuffles=10)
    assert found["high"].bits.argmax() == 17
    assert found["high"].bits[17] == pytest.approx(1, abs=0.01)
    assert found["never"].bits.abs().max() < 1e-9


def test_mistakes():
    with pytest.raises(InputError, match="labels 5 symbols and there is activity of 300"):
        information(torch.rand(300, 2), {"a": np.zeros(5, dtype=bool)})
    with pytest.raises(InputError, match="too few to shuffle in blocks of 64"):
        information(torch.rand(100, 2), {"a": np.zeros(100, dtype=bool)})
    assert information(torch.rand(300, 2), {}) == {}
