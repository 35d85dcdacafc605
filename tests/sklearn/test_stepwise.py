"""Step by step is the same as at once, and learns as it goes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.sklearn.conftest import classifier, copied, regressor

from inn.sklearn.stepwise import WINDOW
from inn.system.errors import InputError


def test_read_step_by_step_is_read_at_once(fitted, sequences):
    model = fitted("classifier")
    for x in sequences[:3]:
        model.reset_state()
        for step in x[:-1]:
            model.learn_one(step)
        at_once = model.predict_proba([x])[0]
        told = model.predict_proba_one(x[-1])
        assert list(told) == ["high", "low"]
        assert np.allclose(list(told.values()), at_once, atol=1e-5)
        assert model.predict_one(x[-1]) == model.predict([x])[0]
        assert model.predict_proba_one(x[-1]) == told  # nothing was remembered


def test_the_end_of_a_series_begins_another(fitted):
    model = fitted("regressor")
    fresh = model.predict_one([1.0, 2.0])
    model.learn_one([5.0, 5.0])
    assert model.predict_one([1.0, 2.0]) != fresh
    model.learn_one([5.0, 5.0], last=True)
    assert model.predict_one([1.0, 2.0]) == fresh


def test_it_learns_from_a_stream():
    rng = np.random.default_rng(0)
    model = regressor(pool="none", lr=0.03).partial_fit(list(rng.normal(size=(4, 8, 1))), rng.normal(size=4))
    errors = []
    for x in rng.normal(size=60):
        errors.append((model.predict_one(x) - 2 * x) ** 2)
        model.learn_one(x, 2 * x)
    assert np.mean(errors[-20:]) < 0.5 * np.mean(errors[:20])


def test_longer_than_the_window(fitted):
    model = fitted("regressor")
    steps = np.random.default_rng(1).normal(size=(2 * WINDOW + 5, 2))
    for step in steps[:-1]:
        model.learn_one(step)
    assert len(model._stream.steps) <= WINDOW
    assert np.isclose(model.predict_one(steps[-1]), model.predict([steps])[0], atol=1e-5)
    model.learn_one(steps[-1], 1.0)


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_a_pickle_goes_on_where_the_stream_was(name, fitted):
    model, targets = fitted(name), ("low", "high") if name == "classifier" else (0.0, 1.0)
    for step in np.ones((3, 2)):
        model.learn_one(step, targets[0])
    again = copied(model)
    for _ in range(2):
        for one in (model, again):
            one.learn_one([0.5, np.nan], targets[1])
        tell = "predict_proba_one" if name == "classifier" else "predict_one"
        assert getattr(model, tell)([1, 1]) == getattr(again, tell)([1, 1])


def test_steps_by_name(sequences, labels):
    frames = [pd.DataFrame(x, columns=["a", "b"]) for x in sequences]
    model = classifier().fit(frames, labels)
    assert model.predict_proba_one({"b": 2.0, "a": 1.0}) == model.predict_proba_one([1.0, 2.0])
    assert model.predict_proba_one({"b": 2.0}) == model.predict_proba_one([np.nan, 2.0])
    with pytest.raises(InputError, match="a step has the channel 'c', which is none of a, b"):
        model.predict_one({"c": 1.0})


@pytest.mark.parametrize(
    "x, sentence",
    [
        ([1.0], "a step has 1 channels, and SequenceClassifier was fitted on 2"),
        ([1.0, np.inf], "channel 1 of a step is infinite"),
        ([1.0, "a"], "a step holds .*, which is no number"),
        ({"a": 1.0}, "a step is given by names, and SequenceClassifier was fitted without any"),
    ],
)
def test_steps_that_cannot_be(x, sentence, fitted):
    with pytest.raises(InputError, match=sentence):
        fitted("classifier").predict_one(x)


def test_an_unknown_class(fitted):
    with pytest.raises(InputError, match="y holds the class 'middle'"):
        fitted("classifier").learn_one([1.0, 1.0], "middle")
