"""Chaotic flows in three dimensions, from textbooks, with what is needed to sample them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Attractor:
    """A chaotic flow.

    Attributes:
        equations: the rates of change of x, y and z, each an array of any shape.
        start: a point on the attractor.
        mean: of each coordinate over the attractor.
        scale: standard deviation of each coordinate over the attractor.
        step: time from one sample to the next, about a 25th of a turn.
        lyapunov: the largest exponent as published, per unit of time.
        inner: steps of integration from one sample to the next.
    """

    equations: Callable[..., Any]
    start: Three
    mean: Three
    scale: Three
    step: float
    lyapunov: float
    inner: int = 4

    def rate(self, x: np.ndarray) -> np.ndarray:
        """The rates of change of states, `[..., 3]` to `[..., 3]`."""
        rates = np.empty_like(x)
        rates[..., 0], rates[..., 1], rates[..., 2] = self.equations(x[..., 0], x[..., 1], x[..., 2])
        return rates

    @property
    def steps(self) -> float:
        """Samples in a Lyapunov time, in which an error grows by e."""
        return 1 / (self.lyapunov * self.step)


# Exponents: J. C. Sprott, Chaos and Time-Series Analysis (2003), appendix A. Means and deviations: our own integration.
ATTRACTORS: dict[str, Attractor] = {
    "lorenz": Attractor(
        lambda x, y, z: (10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z),
        (-12.07, -19.21, 21.58),
        (0.04, 0.04, 23.55),
        (7.93, 9.01, 8.62),
        0.03,
        0.9056,
    ),
    "rossler": Attractor(
        lambda x, y, z: (-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)),
        (-5.76, 6.4, 0.02),
        (0.2, -0.88, 0.89),
        (5.16, 4.85, 2.85),
        0.24,
        0.0714,
    ),
    "chua": Attractor(
        lambda x, y, z: (9 * (y - 2 / 7 * x + 3 / 14 * (abs(x + 1) - abs(x - 1))), x - y + z, -100 / 7 * y),
        (1.16, 0.015, -0.47),
        (-0.03, 0, 0.03),
        (1.37, 0.19, 1.61),
        0.1,
        0.3271,
    ),
    "halvorsen": Attractor(
        lambda x, y, z: (
            -1.27 * x - 4 * y - 4 * z - y * y,
            -1.27 * y - 4 * z - 4 * x - z * z,
            -1.27 * z - 4 * x - 4 * y - x * x,
        ),
        (-7.54, 5.36, -6.26),
        (-3.1, -3.16, -3.11),
        (4.4, 4.36, 4.38),
        0.05,
        0.7899,
    ),
    "rucklidge": Attractor(
        lambda x, y, z: (-2 * x + 6.7 * y - y * z, x, -z + y * y),
        (3.36, 3.23, 4.3),
        (0, -0.03, 6.45),
        (2.72, 2.54, 3),
        0.15,
        0.1877,
    ),
    "hadley": Attractor(
        lambda x, y, z: (-y * y - z * z - 0.25 * x + 2, x * y - 4 * x * z - y + 1, 4 * x * y + x * z - z),
        (1.893, -0.947, -0.458),
        (1.016, 0.06, 0.271),
        (0.588, 0.918, 0.91),
        0.06,
        0.1665,
    ),
    "burke-shaw": Attractor(
        lambda x, y, z: (-10 * (x + y), -y - 10 * x * z, 10 * x * y + 13),
        (-0.97, 1.58, 1.14),
        (0.03, -0.03, 0.18),
        (1.14, 1.52, 1.53),
        0.025,
        2.2499,
    ),
    "sprott-b": Attractor(
        lambda x, y, z: (y * z, x - y, 1 - x * y),
        (0.92, 0.97, -0.03),
        (-0.02, -0.02, 0),
        (1.31, 1, 1.33),
        0.3,
        0.2101,
    ),
    "sprott-f": Attractor(
        lambda x, y, z: (y + z, -x + 0.5 * y, x * x - z),
        (-0.193, -0.25, 0.019),
        (-0.458, -0.92, 0.917),
        (0.841, 1.08, 0.975),
        0.35,
        0.1171,
    ),
    "sprott-k": Attractor(
        lambda x, y, z: (x * y - z, x - y, x + 0.3 * z),
        (0.071, -0.525, -0.61),
        (-0.152, -0.153, 0.51),
        (0.966, 0.696, 1.03),
        0.3,
        0.0377,
    ),
    "thomas": Attractor(
        lambda x, y, z: (np.sin(y) - 0.18 * x, np.sin(z) - 0.18 * y, np.sin(x) - 0.18 * z),
        (-2.78, -0.56, -3.5),
        (-0.02, -0.01, -0.01),
        (2.27, 2.26, 2.27),
        1,
        0.0349,
    ),
    "rikitake": Attractor(
        lambda x, y, z: (-x + z * y, -y + (z - 1) * x, 1 - x * y),
        (-1.52, 0.974, -0.18),
        (0, -0.001, 1.81),
        (1.34, 0.897, 1.22),
        0.25,
        0.1283,
    ),
    "chen": Attractor(
        lambda x, y, z: (35 * (y - x), -7 * x - x * z + 28 * y, x * y - 3 * z),
        (-9.04, -7.63, 24.65),
        (-0.03, -0.03, 23.83),
        (8.45, 9.12, 6.43),
        0.02,
        2.0272,
    ),
    "sprott-r": Attractor(
        lambda x, y, z: (0.9 - y, 0.4 + z, x * y - z),
        (-0.99, -0.75, -0.3),
        (-0.45, 0.9, -0.4),
        (2.06, 1.95, 2.54),
        0.3,
        0.0624,
    ),
    "act": Attractor(
        lambda x, y, z: (1.8 * (x - y), -7.2 * y + x * z + 0.02 * x**3, -2.7 * z + x * y - 0.07 * z * z),
        (-9, -6.09, 6.6),
        (0.01, 0.01, 6.74),
        (4.96, 7.4, 6.83),
        0.15,
        0.1634,
    ),
    "windmi": Attractor(
        lambda x, y, z: (y, z, -0.7 * z - y + 2.5 - np.exp(x)),
        (-1.59, 1.04, 0.62),
        (-5.23, 0, 0),
        (7.48, 5.24, 5.24),
        0.25,
        0.0755,
    ),
    "sprott-m": Attractor(
        lambda x, y, z: (-z, -x * x - y, 1.7 + 1.7 * x + y),
        (0.57, -2.32, 1.17),
        (0.13, -1.93, 0),
        (1.38, 1.3, 1.5),
        0.2,
        0.0441,
    ),
    "sprott-c": Attractor(
        lambda x, y, z: (y * z, x - y, 1 - x * x),
        (-1.001, -1.542, -1.69),
        (0.038, 0.037, 0.11),
        (0.999, 0.844, 1.36),
        0.3,
        0.1632,
    ),
    "sprott-h": Attractor(
        lambda x, y, z: (-y + z * z, x + 0.5 * y, x - z),
        (0.41, -0.83, -0.275),
        (-0.46, 0.91, -0.456),
        (1.15, 1.26, 0.84),
        0.3,
        0.1171,
    ),
    "sprott-n": Attractor(
        lambda x, y, z: (-2 * y, x + z * z, 1 + y - 2 * z),
        (-5.41, 4.62, 2.34),
        (-5.26, 0.01, 0.5),
        (8.71, 5.49, 2.24),
        0.2,
        0.0757,
    ),
}
TRAIN = list(ATTRACTORS)[:10]
"""The systems to train on; the other ten are unseen."""
