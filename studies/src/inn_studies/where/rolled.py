"""Forecasts that a model makes of itself, and for how long they are right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

Teller = Callable[[np.ndarray], np.ndarray]
"""From the steps that are read `[n, T, D]` to those that follow."""


def teller(run: str, count: int) -> Teller:
    """Forecasts of a run, `count` steps of each: what it tells is what it reads next."""
    from inn.runs.load import load_with_data

    model, _ = load_with_data(run)
    model.eval()

    def tell(seen: np.ndarray) -> np.ndarray:
        steps = []
        with torch.inference_mode():
            y, state = model(torch.from_numpy(seen))
            y = y[:, -1]
            for _ in range(count):
                steps.append(y.float())
                y, state = model.step(steps[-1], state)
        return torch.stack(steps, 1).numpy()

    return tell


def right_steps(tell: Teller, steps: np.ndarray, read: int, wrong: float) -> np.ndarray:
    """How many steps of each forecast are right, `[n]`: until its error, the root of its mean square, reaches `wrong`.

    Args:
        steps: `[n, T, D]`, of which the first `read` are seen and the others are told.
    """
    error = np.sqrt(((tell(np.ascontiguousarray(steps[:, :read])) - steps[:, read:]) ** 2).mean(-1))
    bad = ~(error < wrong)
    return np.where(bad.any(1), bad.argmax(1), error.shape[1])
