"""Cheap baselines learn what is cheap, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inn.data.examples import Examples, last_step
from inn_studies.where import floors


def test_a_table_of_counts_knows_what_follows_two_symbols():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (200, 20))
    pair = (x + np.roll(x, 1, 1)) % 3
    pair[:, 0] = x[:, 0]
    parity = x.cumsum(1) % 2
    train, test = Examples.equal(x[:150], pair[:150]), Examples.equal(x[150:], pair[150:])
    assert floors.table(train)(test) == 1
    assert floors.table(Examples.equal(x[:150], parity[:150]))(Examples.equal(x[150:], parity[150:])) < 0.6


def test_random_convolutions_tell_a_fast_wave_from_a_slow_one():
    rng = np.random.default_rng(0)

    def waves(count: int) -> Examples:
        labels = rng.integers(0, 2, count)
        series = [
            np.sin(np.arange(30 + i % 5) * (0.3 + label) + rng.uniform(0, 6))[:, None].astype(np.float32)
            for i, label in enumerate(labels)
        ]
        return Examples.of(series, [last_step(int(a), len(s)) for a, s in zip(labels, series, strict=True)])

    assert floors.ridge(waves(40))(waves(60)) > 0.95


def test_the_last_value_is_off_by_a_step():
    x = np.arange(10, dtype=np.float32)[None, :, None]
    assert floors.last_value(Examples.equal(x, x + 2))(Examples.equal(x, x + 2)) == pytest.approx(2)


def test_the_last_cycle_goes_on_as_it_did(monkeypatch):
    from inn_studies.where import chaos

    wave = np.sin(np.arange(chaos.READ + chaos.TOLD) * 2 * np.pi / 32)
    steps = np.stack([wave, wave, wave], -1)[None].astype(np.float32)
    told = chaos.last_cycle(steps[:, : chaos.READ])
    assert np.allclose(told, steps[:, chaos.READ :], atol=1e-4)
    monkeypatch.setattr(chaos, "trajectories", lambda name, part, each: steps)
    monkeypatch.setattr(chaos, "ATTRACTORS", {"lorenz": replace(chaos.ATTRACTORS["lorenz"], step=0.1, lyapunov=0.1)})
    right = chaos._valid_time(lambda seen: steps[:, chaos.READ :], "test", "train", 1, 10)
    assert right["value"] == pytest.approx(0.01 * chaos.TOLD)
    wrong = steps[:, chaos.READ :].copy()
    wrong[:, 50:] += 1
    assert chaos._valid_time(lambda seen: wrong, "test", "train", 1, 10)["value"] == pytest.approx(0.5)
