"""Systems of differential equations, many trajectories at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rate = Callable[[np.ndarray], np.ndarray]
"""The rate of change of states, `[..., D]` to `[..., D]`."""


def rk4(rate: Rate, x: np.ndarray, dt: float) -> np.ndarray:
    """One step of the classical Runge-Kutta method, whose error over a fixed time falls as dt to the fourth.

    >>> round(float(rk4(lambda x: -x, np.array([1.0]), 0.1)[0]), 5)
    0.90484
    """
    a = rate(x)
    b = rate(x + dt / 2 * a)
    c = rate(x + dt / 2 * b)
    d = rate(x + dt * c)
    return x + dt / 6 * (a + 2 * (b + c) + d)


def trajectory(rate: Rate, x: np.ndarray, dt: float, steps: int, inner: int = 1) -> np.ndarray:
    """States `[..., D]` and what they become: `[steps, ..., D]`, the first of them as given.

    Args:
        rate: the equations.
        x: where to begin.
        dt: time from one state to the next.
        steps: states.
        inner: steps of integration from one state to the next.
    """
    found = np.empty((steps, *x.shape))
    for t in range(steps):
        found[t] = x
        if t < steps - 1:
            for _ in range(inner):
                x = rk4(rate, x, dt / inner)
    return found


def largest_exponent(
    rate: Rate, x: np.ndarray, dt: float, steps: int, inner: int = 1, apart: float = 1e-7
) -> np.ndarray:
    """The largest Lyapunov exponent, per unit of time, `[...]`: how fast two trajectories that begin side by side
    part, which are brought back to their distance `apart` after every step (Benettin et al. 1980).

    Args:
        rate: the equations.
        x: where to begin, `[..., D]`, on the attractor.
        dt: time from one rescaling to the next.
        steps: rescalings, a tenth of them before it is measured.
        inner: steps of integration from one rescaling to the next.
        apart: the distance.
    """
    pair = np.stack([x, x + apart / np.sqrt(x.shape[-1])])
    grown, before = np.zeros(x.shape[:-1]), steps // 10
    for t in range(steps):
        for _ in range(inner):
            pair = rk4(rate, pair, dt / inner)
        away = pair[1] - pair[0]
        distance = np.linalg.norm(away, axis=-1)
        grown += np.log(distance / apart) * (t >= before)
        pair[1] = pair[0] + away * (apart / distance)[..., None]
    return grown / ((steps - before) * dt)
