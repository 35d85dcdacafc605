"""One pass, measured or extrapolated: the fit, and what is said of it."""

from __future__ import annotations

import pytest

from inn_studies.lab import digest
from inn_studies.one_pass import CURVES, MODEL, OnePass, fitted
from inn_studies.rivals import OURS, SIZES
from inn_studies.rows import jobs, model_settings


def curve(points, corpus="text8-69m", ahead=64_000_000):
    return {"label": corpus, "corpus": corpus, "parameters": 1000, "points": points, "fit": fitted(points, ahead)}


def test_a_power_law_with_a_floor_is_found():
    points = [(symbols, 1.25 + 40 * symbols**-0.3) for symbols in (10**5, 10**6, 10**7, 10**8)]
    found = fitted(points, 10**10)
    assert found["a"] == pytest.approx(1.25, abs=1e-6)
    assert found["c"] == pytest.approx(0.3, abs=1e-6)
    assert found["bits"] == pytest.approx(1.25 + 40 * 1e-3, abs=1e-6)
    assert found["low"] == pytest.approx(found["high"], abs=1e-6)  # every three points say the same


def test_bits_do_not_fall_below_nothing():
    points = [(1000, 2.0), (2000, 1.8), (4000, 1.4), (8000, 0.7)]  # falls faster and faster: no floor fits
    found = fitted(points, 10**9)
    assert found["a"] == 0.0
    assert found["bits"] >= 0.0


def test_noise_shows_as_a_range():
    points = [(10**5, 2.0), (10**6, 1.7), (10**7, 1.58), (10**8, 1.45)]
    found = fitted(points, 10**9)
    assert found["low"] < found["bits"] < found["high"]


def test_two_points_are_no_curve():
    assert fitted([(1000, 2.0), (2000, 1.9)], 10**6) is None


def test_an_extrapolation_is_called_one():
    points = [(symbols, 1.3 + 20 * symbols**-0.3) for symbols in (10**5, 10**6, 10**7)]
    text = OnePass().table({"curves": [curve(points)]})
    assert "| text8-69m | 1,000 | 64,000,000 | 1.391 | – | – | **extrapolated** |" in text
    assert "which is no measurement; goal 1.45: met." in text
    far = OnePass().table({"curves": [curve(points, "enwik8", 90_000_000), curve([(s, b + 0.2) for s, b in points])]})
    assert "goal 1.5: met" in far
    assert "goal 1.45: not met" in far


def test_a_whole_pass_is_called_measured():
    points = [(symbols, 1.3 + 20 * symbols**-0.3) for symbols in (4_000_000, 16_000_000, 64_000_000)]
    text = OnePass().table({"curves": [curve(points)]})
    assert "extrapolated" not in text
    assert "measured; goal 1.45: met." in text


def test_its_longest_run_is_one_of_the_rivals():
    ours = CURVES["cpu"]["text8-69m, 1.1 M"]
    fields = {"model.kind": MODEL, "train.symbols": ours.lengths[-1]}
    (longest,) = jobs(ours, "a", fields, ours.rates, [0])
    size = SIZES["cpu"]
    (shared,) = jobs(size, "b", model_settings(size, OURS), ours.rates, [0])
    assert digest(longest.config()) == digest(shared.config())
