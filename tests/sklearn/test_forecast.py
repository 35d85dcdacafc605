"""Forecasts: what comes next, in the form that the series had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from tests.sklearn.conftest import copied, forecaster

from inn.system.errors import InputError

WAVE = np.sin(np.arange(120) / 2)


def test_it_learns_a_wave():
    model = forecaster(width=8, max_iter=60).fit(WAVE[:110])
    assert np.abs(model.predict(10) - WAVE[110:]).max() < 0.4  # it swings by 1
    assert model.loss_curve_[-1] < 0.2 * model.loss_curve_[0]


def test_a_path_is_rolled_out(fitted):
    model = fitted("forecaster")
    path = model.predict(4)
    assert path.shape == (4,)
    assert (model.predict([4, 1]) == path[[3, 0]]).all()
    model.update(path[:1])  # had it come as told, the rest is as it was
    assert np.allclose(model.predict(3), path[1:], atol=1e-6)


def test_read_in_pieces_is_read_at_once(fitted):
    one, two = fitted("forecaster"), fitted("forecaster")
    more = np.cos(np.arange(20))
    one.update(more)
    two.update(more[:7]).update(more[7:])
    assert np.allclose(one.predict(3), two.predict(3), atol=1e-5)


def test_quantiles(fitted):
    model = fitted("forecaster")
    found = model.predict_quantiles(6, [0.1, 0.5, 0.9])
    assert found.shape == (6, 3)
    assert (np.diff(found) >= 0).all()
    assert (found == model.predict_quantiles(6, [0.1, 0.5, 0.9])).all()
    assert found[-1, 2] - found[-1, 0] > found[0, 2] - found[0, 0]  # less is known of what is further off


def test_quantiles_cover_what_comes():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=400)
    model = forecaster(max_iter=10).fit(steps[:200])  # nothing but noise: quantiles are those of the noise
    low, high = model.predict_quantiles(1, [0.1, 0.9], samples=2000)[0]
    assert 0.7 < ((steps[200:] > low) & (steps[200:] < high)).mean() < 0.9


def test_frames_come_back_as_frames():
    days = pd.date_range("2024-01-01", periods=100, freq="D")
    table = pd.DataFrame({"a": WAVE[:100], "b": -WAVE[:100]}, days)
    model = forecaster(max_iter=2).fit(table[:90])
    found = model.predict(3)
    assert list(found.columns) == ["a", "b"]
    assert list(model.feature_names_in_) == ["a", "b"]
    assert (found.index == days[90:93]).all()
    quantiles = model.predict_quantiles([2], [0.2, 0.8])
    assert quantiles["a"].columns.tolist() == [0.2, 0.8]
    assert quantiles.index.tolist() == [days[91]]
    assert (model.update(table[90:]).predict(1).index == days[-1:] + pd.Timedelta("1D")).all()
    with pytest.raises(InputError, match="was read already; give what came since"):
        model.update(table[:5])
    with pytest.raises(InputError, match="the columns are"):
        model.update(table.rename(columns={"a": "z"}))


@pytest.mark.parametrize(
    "index, after",
    [
        (pd.RangeIndex(10, 40), [40, 41]),
        (pd.period_range("2024-01", periods=30, freq="M"), list(pd.period_range("2026-07", periods=2, freq="M"))),
        (pd.date_range("2024-01-31", periods=30, freq="ME"), list(pd.date_range("2026-07-31", periods=2, freq="ME"))),
        (pd.Index(np.arange(30) ** 2), [1, 2]),  # not evenly spaced: steps are counted
    ],
)
def test_time_goes_on(index, after):
    found = forecaster(max_iter=1).fit(pd.Series(WAVE[:30], index, name="load")).predict(2)
    assert found.name == "load"
    assert found.index.tolist() == after


def test_several_series():
    model = forecaster(max_iter=2).fit([WAVE[:60], WAVE[30:120]])
    one, two = model.predict(3)
    assert one.shape == two.shape == (3,)
    assert (one != two).any()
    alone = copied(model).predict(3)
    assert (one == alone[0]).all()
    with pytest.raises(InputError, match="there are 1 series, and fit was given 2"):
        model.update([WAVE[:3]])


def test_missing_values_and_early_stopping():
    series = np.c_[WAVE, np.roll(WAVE, 3)]
    series[::7, 0] = np.nan
    model = forecaster(max_iter=40, early_stopping=True, n_iter_no_change=2, lr=0.1).fit(series)
    assert model.n_iter_ < 40
    assert np.isfinite(model.predict(5)).all()
    assert np.isfinite(model.predict_quantiles(5)).all()
    assert model.predict_quantiles(5).shape == (5, 2, 3)


def test_a_series_with_long_gaps():
    series = np.full(300, np.nan)
    series[:20], series[-20:] = WAVE[:20], WAVE[:20]
    assert np.isfinite(forecaster(max_iter=3, batch=1).fit(series).predict(2)).all()


def test_pickles_and_clones(fitted):
    model = fitted("forecaster")
    again = copied(model)
    assert (model.predict(5) == again.predict(5)).all()
    assert (model.update(WAVE[:3]).predict_quantiles(2) == again.update(WAVE[:3]).predict_quantiles(2)).all()
    with pytest.raises(NotFittedError):
        clone(model).predict(1)


@pytest.mark.parametrize(
    "y, sentence",
    [
        ([1.0, 2.0], "series 0 has fewer than 3 steps"),
        (["a", "b", "c"], "sequence 0 holds 'a', which is no number"),
        (np.full(9, np.nan), "all values of sequence 0 are missing"),
        (np.array([1.0, np.inf, 2.0]), "is infinite"),
        ([np.ones((5, 2)), np.ones((5, 3))], "sequence 1 has 3 channels"),
        (np.c_[np.ones(9), np.full(9, np.nan)], "channel 1 is missing everywhere"),
    ],
)
def test_series_that_cannot_be(y, sentence):
    with pytest.raises(InputError, match=sentence):
        forecaster(max_iter=1).fit(y)


@pytest.mark.parametrize("horizon", [0, -1, [0, 1], 1.5, "a", []])
def test_horizons_that_cannot_be(horizon, fitted):
    with pytest.raises(InputError, match="horizon must be a number of steps"):
        fitted("forecaster").predict(horizon)
