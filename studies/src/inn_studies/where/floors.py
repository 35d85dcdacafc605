"""The field's cheap baselines: what a model has to beat to have learned anything, all in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from inn.data.examples import IGNORED, Examples

KERNELS = 500


def floor(kind: str, corpus: str, options: dict[str, Any], tests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The scores of a cheap baseline (a function for `Lab.compute`).

    Args:
        kind: one of `FLOORS`.
        corpus, options: the task as it is trained on.
        tests: by name, options of the task that differ in a test.

    Returns the score of each test under `scores`: accuracy, or the root of the mean squared error (`last value`).
    """
    from inn_studies.where.harness import Track

    data = Track("", corpus, 1, options=options).data()
    predict = FLOORS[kind](data.examples("train"))
    scores = {}
    for name, changes in tests.items():
        examples = Track("", corpus, 1, options={**options, **changes}).data().examples("test")
        scores[name] = {"value": predict(examples), "sequences": len(examples)}
    return {"scores": scores}


def table(train: Examples) -> Callable[[Examples], float]:
    """The most frequent target after the last two inputs; the order of none, one or two that is best where trained."""
    tables = [_counted(train, order) for order in range(3)]
    best = max(tables, key=lambda told: _accuracy(told(train), train))
    return lambda examples: _accuracy(best(examples), examples)


def _counted(train: Examples, order: int) -> Callable[[Examples], np.ndarray]:
    counts: dict[int, np.ndarray] = {}
    classes = int(train.targets.max()) + 1
    contexts = _contexts(train, order)
    for context, target in zip(contexts.tolist(), train.targets.tolist(), strict=True):
        if target != IGNORED:
            counts.setdefault(context, np.zeros(classes, np.int64))[target] += 1
    usual = int(sum(counts.values(), np.zeros(classes, np.int64)).argmax())
    best = {context: int(found.argmax()) for context, found in counts.items()}
    return lambda examples: np.array([best.get(context, usual) for context in _contexts(examples, order).tolist()])


def _contexts(examples: Examples, order: int) -> np.ndarray:
    """The last `order` inputs at every step as one number; none are seen before a sequence begins."""
    found = np.zeros(len(examples.inputs), np.int64)
    at = np.arange(len(examples.inputs)) - np.repeat(examples.starts[:-1], examples.lengths)
    for back in range(order):
        shifted = np.roll(examples.inputs.astype(np.int64), back) + 1
        found = found * 100_003 + np.where(at >= back, shifted, 0)
    return found


def _accuracy(told: np.ndarray, examples: Examples) -> float:
    counts = examples.targets != IGNORED
    return float((told[counts] == examples.targets[counts]).mean())


def ridge(train: Examples) -> Callable[[Examples], float]:
    """Ridge regression on the largest value and the share above zero of random convolutions, as ROCKET has them."""
    kernels = _kernels(np.random.default_rng(0), train.inputs.shape[1])
    mean, scale = np.nanmean(train.inputs, 0), np.nanstd(train.inputs, 0) + 1e-6
    x, labels = _features(train, kernels, mean, scale), _labels(train)
    centre, spread = x.mean(0), x.std(0) + 1e-6
    x = (x - centre) / spread
    classes = np.unique(labels)
    y = np.where(labels[:, None] == classes, 1.0, -1.0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    best = None
    for strength in np.logspace(-1, 5, 13):  # by the errors that each sequence has when left out
        kept = s**2 / (s**2 + strength)
        hat = (u * kept) @ u.T + 1 / len(x)
        left_out = (y - ((u * kept) @ (u.T @ (y - y.mean(0))) + y.mean(0))) / (1 - np.diag(hat))[:, None]
        error = float((left_out**2).mean())
        if best is None or error < best[0]:
            best = error, vt.T @ ((s / (s**2 + strength))[:, None] * (u.T @ (y - y.mean(0))))
    assert best is not None
    weights, offset = best[1], y.mean(0)

    def score(examples: Examples) -> float:
        z = (_features(examples, kernels, mean, scale) - centre) / spread
        return float((classes[(z @ weights + offset).argmax(1)] == _labels(examples)).mean())

    return score


def _kernels(rng: np.random.Generator, channels: int) -> list[tuple[np.ndarray, int, np.ndarray]]:
    """Random kernels on some of the channels in groups: taps `[length, F, K]`, steps between taps, thresholds `[K]`."""
    found, each = [], KERNELS // 12
    for length in (3, 5, 7):
        for apart in (1, 2, 4, 8):
            taps = rng.normal(size=(length, channels, each))
            taps *= rng.random((channels, each)) < max(0.3, 1.5 / channels)
            found.append((taps - taps.mean(0), apart, rng.uniform(-1, 1, each)))
    return found


def _features(examples: Examples, kernels: list, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    x = np.nan_to_num((examples.inputs - mean) / scale)
    rows = []
    for i in range(len(examples)):
        series, row = x[examples.starts[i] : examples.starts[i + 1]], []
        for taps, apart, thresholds in kernels:
            reach = apart * (len(taps) - 1)
            padded = np.pad(series, ((reach // 2, reach - reach // 2), (0, 0)))
            found = np.sum([padded[k * apart : k * apart + len(series)] @ tap for k, tap in enumerate(taps)], 0)
            row += [found.max(0), (found > thresholds).mean(0)]
        rows.append(np.concatenate([*row, series.mean(0), series.std(0), [np.log(len(series))]]))
    return np.array(rows)


def _labels(examples: Examples) -> np.ndarray:
    """The label of every sequence: what counts last in it."""
    return np.array([t[t != IGNORED][-1] for t in np.split(examples.targets, examples.starts[1:-1])])


def last_value(train: Examples) -> Callable[[Examples], float]:
    """That the next step is as this one."""

    def score(examples: Examples) -> float:
        error = (examples.targets - examples.inputs[:, : examples.targets.shape[1]]) ** 2
        return float(np.sqrt(np.nanmean(error)))

    return score


FLOORS: Mapping[str, Callable[[Examples], Callable[[Examples], float]]] = {
    "table of counts": table,
    "random convolutions, ridge": ridge,
    "last value": last_value,
}
"""The baselines by name: each is given the training part, and returns what scores a test part."""
