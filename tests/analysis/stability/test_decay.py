"""Decays whose law and pace are known."""

from __future__ import annotations

import numpy as np
import pytest

from inn.analysis.stability.decay import fit_decay, halving_lag, interval

LAGS = np.unique(np.geomspace(1, 200, 30).round())


def noisy(logs: np.ndarray, blocks: int = 12, spread: float = 0.1) -> np.ndarray:
    return logs + spread * np.random.default_rng(0).normal(size=(blocks, len(logs)))


def test_an_exponential_is_recovered():
    found = fit_decay(LAGS, noisy(3 - LAGS / 25))
    assert found["better"] == "exponential"
    assert found["aic"] > 0
    assert found["share"] == 1.0
    rate = found["exponential"]["rate"]
    assert rate["mean"] == pytest.approx(1 / 25, rel=0.02)
    assert rate["low"] < 1 / 25 < rate["high"]
    life = found["exponential"]["half_life"]
    assert life["mean"] == pytest.approx(25 * np.log(2), rel=0.02)
    assert life["low"] < life["mean"] < life["high"]
    assert found["half_life"] == pytest.approx(25 * np.log(2), rel=0.1)


def test_a_power_law_is_recovered():
    found = fit_decay(LAGS, noisy(1 - 0.6 * np.log(LAGS)))
    assert found["better"] == "power"
    assert found["aic"] < 0
    assert found["share"] == 1.0
    exponent = found["power"]["exponent"]
    assert exponent["mean"] == pytest.approx(0.6, rel=0.02)
    assert exponent["low"] < exponent["mean"] < exponent["high"]
    assert found["distance"]["mean"][0] == 1.0
    assert found["distance"]["mean"][-1] == pytest.approx(200**-0.6, rel=0.2)


def test_aic_is_that_of_two_least_squares_fits():
    logs = noisy(-((LAGS / 40) ** 0.5), blocks=1)
    found = fit_decay(LAGS, logs)
    errors = [np.polyfit(x, logs[0], 1, full=True)[1][0] for x in (LAGS, np.log(LAGS))]
    assert found["aic"] == pytest.approx(len(LAGS) * np.log(errors[1] / errors[0]))


def test_a_law_that_nobody_can_tell_has_a_share_that_says_so():
    close = fit_decay(np.arange(1, 6), noisy(-0.1 * np.arange(1, 6), blocks=6, spread=1.0))
    assert 0.0 < close["share"] < 1.0


def test_what_does_not_fade_has_no_half_life():
    growing = fit_decay(LAGS, noisy(LAGS / 50))
    assert growing["half_life"] is None
    assert growing["exponential"]["half_life"] == {"mean": None, "low": None, "high": None}
    assert growing["exponential"]["rate"]["mean"] < 0


def test_lags_end_where_a_block_has_nothing_left():
    logs = noisy(-LAGS / 5)
    logs[3, 10:] = -np.inf
    found = fit_decay(LAGS, logs)
    assert found["lags"] == LAGS[:10].tolist()
    assert found["exponential"]["half_life"]["mean"] == pytest.approx(5 * np.log(2), rel=0.1)
    logs[3, 2:] = -np.inf
    assert fit_decay(LAGS, logs)["exponential"] is None
    logs[3] = -np.inf
    nothing = fit_decay(LAGS, logs)
    assert nothing["lags"] == nothing["distance"]["mean"] == []
    assert nothing["half_life"] is nothing["better"] is None


def test_half_life_is_counted_from_the_first_lag():
    lags = np.array([4.0, 6.0, 8.0, 10.0])
    assert halving_lag(lags, np.log([8.0, 8.0, 4.0, 1.0])) == pytest.approx(4.0)
    assert halving_lag(lags, np.log([8.0, 2.0, 8.0, 8.0])) == pytest.approx(1.0)
    assert halving_lag(lags, np.log([8.0, 8.0, 8.0, 5.0])) is None


def test_intervals_cover_the_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        found = interval(rng.normal(size=30))
        hits += found["low"] < 0 < found["high"]
    assert 0.88 < hits / 200 < 0.98
