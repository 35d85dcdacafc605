"""Sequences to learn from, and small estimators."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from inn.sklearn import Forecaster, SequenceClassifier, SequenceRegressor

SMALL = {"neurons": 2, "width": 4, "rounds": 1, "device": "cpu", "random_state": 0}


@pytest.fixture(scope="session")
def sequences() -> list[np.ndarray]:
    """24 sequences of 3 to 8 steps and 2 channels; the mean of every second one is higher."""
    rng = np.random.default_rng(0)
    return [rng.normal(i % 2, 0.5, size=(rng.integers(3, 9), 2)) for i in range(24)]


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    return np.array(["low", "high"] * 12)


@pytest.fixture(scope="session")
def _fitted(sequences, labels) -> dict[str, bytes]:
    made = {
        "classifier": classifier().fit(sequences, labels),
        "regressor": regressor().fit(sequences, [x.mean() for x in sequences]),
        "forecaster": forecaster().fit(np.sin(np.arange(80) / 2)),
    }
    return {name: pickle.dumps(one) for name, one in made.items()}


@pytest.fixture
def fitted(_fitted):
    """A copy of a fitted estimator, by name."""
    return lambda name: pickle.loads(_fitted[name])  # noqa: S301 - made above


def classifier(**given) -> SequenceClassifier:
    return SequenceClassifier(**{**SMALL, "max_iter": 3, "lr": 0.03, **given})


def regressor(**given) -> SequenceRegressor:
    return SequenceRegressor(**{**SMALL, "max_iter": 3, "lr": 0.03, **given})


def forecaster(**given) -> Forecaster:
    return Forecaster(**{**SMALL, "max_iter": 3, "lr": 0.03, "window": 16, **given})


def copied(estimator):
    """The same estimator, by way of a pickle."""
    return pickle.loads(pickle.dumps(estimator))  # noqa: S301 - made here
