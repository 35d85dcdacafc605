"""How a perturbation fades: exponentially, or by a power law; and how long until half of it is gone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

RESAMPLES = 1000
LEAST = 4
"""Lags that a law is fitted to at least."""


def fit_decay(lags: np.ndarray, logs: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Fit both laws to the logarithm of distances over lags, with intervals over blocks of text.

    `exponential` is ln d = a - rate k, `power` is ln d = a - exponent ln k, by least squares on the mean over blocks of
    ln d (the distances' geometric mean). Both have as many parameters, so the difference of Akaike's criteria (1974)
    is n ln of the ratio of their squared errors. Neighbouring lags err alike, so that difference overstates; the honest
    number is `share`: of the bootstrap's drawings of blocks, those in which the law that is called better is better.

    Args:
        lags: `[K]` symbols, each at least 1 and rising.
        logs: `[blocks, K]` natural logarithm of a distance; from the first lag on at which any block is not finite
            (nothing was left to measure) lags are ignored.
        seed: of the bootstrap.

    Returns:
        `lags` used, `distance` (`mean`, `low`, `high`, each `[K]`, of what was left relative to the first lag),
        `half_life` in symbols after the first lag (measured, interpolated; None where it never fell by half);
        `exponential` (`rate` per symbol and its `half_life`), `power` (`exponent`), `aic` (power - exponential:
        positive where the exponential fits better), `better` and `share`. Fits are None below four lags.
        Intervals `low` .. `high` are 95 % bootstraps over blocks.

    >>> lags = np.arange(1, 30)
    >>> found = fit_decay(lags, np.log(0.5) * lags[None] / 7)
    >>> found["better"], round(found["exponential"]["half_life"]["mean"], 3), round(found["half_life"], 3)
    ('exponential', 7.0, 7.0)
    """
    lags, logs = np.asarray(lags, dtype=np.float64), np.asarray(logs, dtype=np.float64)
    finite = np.isfinite(logs).all(0)
    used = len(lags) if finite.all() else int(np.argmin(finite))
    lags, logs = lags[:used], logs[:, :used]
    relative = logs - logs[:, :1]
    means = resampled(relative, seed)
    low, high = (np.exp(np.quantile(means, q, axis=0)).tolist() if used else [] for q in (0.025, 0.975))
    mean = relative.mean(0)
    found: dict[str, Any] = {
        "lags": lags.astype(int).tolist(),
        "distance": {"mean": np.exp(mean).tolist(), "low": low, "high": high},
        "half_life": halving_lag(lags, mean),
        "exponential": None, "power": None, "aic": None, "better": None, "share": None,
    }  # fmt: skip
    if used < LEAST:
        return found
    rates, exponential = _line(lags, np.vstack([mean, means]))
    exponents, power = _line(np.log(lags), np.vstack([mean, means]))
    aic = used * np.log(np.maximum(power, 1e-24) / np.maximum(exponential, 1e-24))
    rate = _interval(-rates)
    better = "exponential" if aic[0] > 0 else "power"
    found |= {
        "exponential": {"rate": rate, "half_life": {end: _halving(r) for end, r in _swapped(rate).items()}},
        "power": {"exponent": _interval(-exponents)},
        "aic": float(aic[0]),
        "better": better,
        "share": float(((aic[1:] > 0) == (aic[0] > 0)).mean()),
    }
    return found


def halving_lag(lags: np.ndarray, logs: np.ndarray) -> float | None:
    """Symbols after the first lag until half is left, interpolated in the logarithm; None where that is not reached.

    >>> halving_lag(np.array([1.0, 3.0, 5.0]), np.log([1.0, 1.0, 0.25]))
    3.0
    """
    below = logs <= logs[:1] - math.log(2) if len(logs) else np.zeros(0, dtype=bool)
    if not below.any():
        return None
    k = int(np.argmax(below))
    step = (logs[0] - math.log(2) - logs[k - 1]) / (logs[k] - logs[k - 1])
    return float(lags[k - 1] + step * (lags[k] - lags[k - 1]) - lags[0])


def resampled(values: np.ndarray, seed: int) -> np.ndarray:
    """Means of `values` `[blocks, ...]` over blocks drawn with replacement: `[1000, ...]`."""
    rng = np.random.default_rng(seed)
    blocks = len(values)
    counts = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES) / blocks
    with np.errstate(invalid="ignore"):  # what is infinite somewhere has no interval: nan
        return np.tensordot(counts, values, axes=1)


def interval(values: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Mean of `values` `[blocks]` or `[blocks, K]`, with its 95 % bootstrap interval over blocks: `mean low high`.

    >>> interval(np.array([1.0, 1.0, 1.0]))
    {'mean': 1.0, 'low': 1.0, 'high': 1.0}
    """
    means = resampled(values, seed)
    with np.errstate(invalid="ignore"):
        ends = (values.mean(0), *np.quantile(means, [0.025, 0.975], axis=0))
    return {name: end.tolist() for name, end in zip(("mean", "low", "high"), ends)}


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and squared errors of straight lines through `y` `[curves, K]` over `x` `[K]`."""
    x, y = x - x.mean(), y - y.mean(-1, keepdims=True)
    slope = y @ x / (x @ x)
    return slope, np.square(y - slope[:, None] * x).sum(-1)


def _interval(values: np.ndarray) -> dict[str, float]:
    """The first value, and the interval of the others."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {"mean": float(values[0]), "low": float(low), "high": float(high)}


def _swapped(rate: dict[str, float]) -> dict[str, float]:
    return {"mean": rate["mean"], "low": rate["high"], "high": rate["low"]}


def _halving(rate: float) -> float | None:
    return math.log(2) / rate if rate > 0 else None
