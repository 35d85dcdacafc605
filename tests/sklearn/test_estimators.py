"""Classifier and regressor: what they learn, how they are given back, and what they refuse."""

from __future__ import annotations

import os
import pickle
import pickletools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tests.sklearn.conftest import classifier, copied, regressor

import inn
from inn.inference.examples import evaluate_examples
from inn.system.errors import InputError


def test_it_learns(sequences, labels):
    model = classifier(max_iter=10).fit(sequences, labels)
    assert model.score(sequences, labels) > 0.9
    assert model.classes_.tolist() == ["high", "low"]
    assert (model.n_features_in_, model.n_iter_, len(model.loss_curve_)) == (2, 10, 10)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert np.allclose(model.predict_proba(sequences).sum(1), 1)
    assert not model.model_.training
    means = np.array([x.mean() for x in sequences])
    assert regressor(max_iter=10).fit(sequences, means).score(sequences, means) > 0.5


@pytest.mark.parametrize("kind", ["signal-lstm", "signal-gru", "signal-mamba", "signal-transformer"])
def test_other_kinds(kind, sequences, labels):
    model = classifier(kind=kind, neurons=None, width=8, model={"dropout": 0.0}).fit(sequences, labels)
    assert (model.model_.config.kind, model.model_.config.layers, model.model_.config.width) == (kind, 1, 8)
    assert model.predict(sequences[:2]).shape == (2,)


def test_the_same_seed_gives_the_same(sequences, labels):
    one, two, other = (classifier(random_state=seed).fit(sequences, labels) for seed in (1, 1, 2))
    before = torch.get_rng_state()
    assert (one.predict_proba(sequences) == two.predict_proba(sequences)).all()
    assert (one.predict_proba(sequences) != other.predict_proba(sequences)).any()
    classifier(random_state=None, max_iter=1).fit(sequences, labels)
    assert torch.equal(before, torch.get_rng_state())  # nobody else's random numbers are used up


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_learns_whatever_gradient_mode_it_is_called_in(mode, sequences, labels, tmp_path):
    (tmp_path / "text").write_text("the cat sat on the mat\n" * 60)
    with mode():
        model = classifier(max_iter=1).fit(sequences, labels)
        model.learn_one(sequences[0][0], labels[0])
        sizes = {"neurons": 2, "width": 8, "rounds": 1}
        some, text = {"symbols": 100, "sample_every": 0, "eval_symbols": 32}, f"file:{tmp_path / 'text'}"
        inn.train("demo", tmp_path / "run", model=sizes, train=some, data={"corpus": text, "window": 8})
    assert (classifier(max_iter=1).fit(sequences, labels).predict_proba(sequences) >= 0).all()
    model.partial_fit(sequences, labels)


def test_what_is_beside_a_sequence_does_not_matter(sequences, fitted):
    model = fitted("classifier")
    alone = np.concatenate([model.predict_proba([x]) for x in sequences])
    assert np.allclose(alone, model.predict_proba(sequences), atol=1e-6)


def test_weights(sequences, labels):
    heavy = np.where(labels == "high", 1.0, 0.0)
    heavy[0] = 0.5
    kept = np.flatnonzero(heavy)
    weighted = classifier().fit(sequences, labels, heavy)
    scaled = classifier().fit(sequences, labels, heavy * 8)
    fewer = classifier().fit([sequences[i] for i in kept], labels[kept], heavy[kept])
    for other in (scaled, fewer):  # of weight 0 is as if not there
        assert (weighted.predict_proba(sequences) == other.predict_proba(sequences)).all()
    even = classifier().fit([sequences[i] for i in kept], labels[kept])
    assert (weighted.predict_proba(sequences) != even.predict_proba(sequences)).any()


@pytest.mark.parametrize(
    "weights, sentence",
    [
        (np.zeros(24), "sample_weight is 0 everywhere"),
        (-np.ones(24), "at least 0"),
        (np.ones(3), r"must be \[24\]"),
        (np.full(24, np.nan), "must be finite"),
    ],
)
def test_weights_that_cannot_be(weights, sentence, sequences, labels):
    with pytest.raises(InputError, match=sentence):
        classifier().fit(sequences, labels, weights)


def test_early_stopping(sequences, labels):
    noise = np.random.default_rng(0).permutation(labels)
    model = classifier(early_stopping=True, max_iter=60, n_iter_no_change=2, lr=0.05, validation_fraction=0.25).fit(
        sequences, noise
    )
    curve = model.validation_loss_curve_
    assert model.n_iter_ == len(curve) < 60
    assert int(np.argmin(curve)) == len(curve) - 3
    held_out = model._split(model._given(sequences, noise, None, True, True), model._seed())[1]
    score = evaluate_examples(model.model_, held_out)
    assert len(held_out) == 6
    assert score.nats / score.count == min(curve)  # the model that was best is kept
    with pytest.raises(InputError, match=r"too few to hold 0\.01 of them out"):
        classifier(early_stopping=True, validation_fraction=0.01).fit(sequences, labels)


def test_targets_of_several_numbers(sequences):
    y = np.array([x.mean(0) for x in sequences])
    model = regressor().fit(sequences, y)
    assert model.predict(sequences).shape == (24, 2)
    assert regressor().fit(sequences, y[:, 0]).predict(sequences).shape == (24,)


def test_partial_fit(sequences, labels):
    model = classifier()
    with pytest.raises(InputError, match="classes must be passed in the first call"):
        model.partial_fit(sequences, labels)
    for _ in range(8):
        model.partial_fit(sequences, labels, classes=["low", "high", "none"])
    assert model.classes_.tolist() == ["high", "low", "none"]
    assert model.score(sequences, labels) > 0.9
    with pytest.raises(InputError, match="y holds the class 'other', which is none of"):
        model.partial_fit(sequences[:1], ["other"])
    with pytest.raises(InputError, match="are not those of the first call"):
        model.partial_fit(sequences, labels, classes=["low", "high"])
    with pytest.raises(InputError, match="the sequences have 1 channels, and SequenceClassifier was fitted on 2"):
        model.partial_fit([x[:, :1] for x in sequences], labels)
    number = regressor().partial_fit(sequences, [x.mean() for x in sequences])
    assert number.n_iter_ == 1


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_pickles_are_plain_and_exact(name, fitted, sequences):
    model = fitted(name)
    tell = model.predict_proba if name == "classifier" else model.predict
    model.partial_fit(sequences, ["low", "high"] * 12 if name == "classifier" else [0.0, 1.0] * 12)
    stored = pickle.dumps(model)
    modules = {str(arg).split()[0].split(".")[0] for op, arg, _ in pickletools.genops(stored) if op.name == "GLOBAL"}
    names = [arg for op, arg, _ in pickletools.genops(stored) if "UNICODE" in op.name]
    assert not modules
    assert not [n for n in names if n.startswith(("torch", "safetensors"))]
    again = copied(model)
    other = again.predict_proba if name == "classifier" else again.predict
    assert (tell(sequences) == other(sequences)).all()
    for one in (model, again):  # the moments of the optimiser are there too
        one.partial_fit(sequences, ["low", "high"] * 12 if name == "classifier" else [0.0, 1.0] * 12)
    assert (tell(sequences) == other(sequences)).all()


@pytest.mark.parametrize("name", ["classifier", "regressor", "forecaster"])
def test_exported_it_is_a_model_like_any_other(name, fitted, tmp_path):
    model = fitted(name)
    loaded = inn.load(model.export(tmp_path / "exported"))
    x = torch.randn(2, 5, model.n_features_in_)
    assert torch.equal(loaded(x)[0], model.model_(x)[0])
    assert loaded.vocabulary.outputs == {"classifier": ["high", "low"], "regressor": ["y0"], "forecaster": ["x0"]}[name]
    with pytest.raises(InputError, match="exists already and is not empty"):
        model.export(tmp_path / "exported")


def test_in_scikit_learns_hands(sequences, labels):
    model = classifier(max_iter=2)
    assert clone(model).get_params() == model.get_params()
    assert len(cross_val_score(model, sequences, labels, cv=2)) == 2
    pipeline = make_pipeline(FunctionTransformer(lambda X: [x * 10 for x in X]), model)
    assert pipeline.fit(sequences, labels).predict(sequences).shape == (24,)
    grid = {"width": [4, 8], "kind": ["signal"]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(np.ones((24, 3, 2)), labels)
    assert set(search.best_params_) == {"width", "kind"}
    assert repr(classifier(lr=0.1)).startswith("SequenceClassifier(")


@pytest.mark.slow
def test_two_processes_give_the_same_as_one(sequences, labels):
    scores = [cross_val_score(classifier(), sequences, labels, cv=3, n_jobs=jobs) for jobs in (1, 2)]
    assert (scores[0] == scores[1]).all()


def test_tables_are_held_to_their_columns_and_sequences_are_not(labels):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 5)), columns=list("abcde"))
    model = classifier().fit(table, labels)
    assert (model.n_features_in_, list(model.feature_names_in_)) == (5, list("abcde"))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table.rename(columns={"a": "z"}))
    assert model.predict([np.zeros(2), np.zeros(7)]).shape == (2,)
    model = classifier().fit([np.array(row) for row in table.to_numpy()], labels)
    assert model.n_features_in_ == 1
    assert model.predict(table.to_numpy()[:, :3]).shape == (24,)  # of other lengths


def test_names_of_channels(sequences, labels):
    frames = [pd.DataFrame(x, columns=["a", "b"]) for x in sequences]
    model = classifier().fit(frames, labels)
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict([f.rename(columns={"a": "z"}) for f in frames])
    with pytest.raises(ValueError, match="same order"):
        model.predict([f[["b", "a"]] for f in frames])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(sequences)


@pytest.mark.parametrize(
    "X, y, sentence",
    [
        ([np.ones(3), np.ones(2)], ["a", "a"], "all sequences that count are of one class, 'a'"),
        ([np.ones(3), np.ones(2)], ["a"], "inconsistent numbers of samples"),
        ([np.ones(3), np.ones(2)], None, "requires y to be passed"),
        ([np.ones((2, 2)) * [1, np.nan]] * 2, ["a", "b"], "channel 1 is missing in every sequence"),
        (np.array([["a", "b"]] * 2), ["a", "b"], "could not convert string"),
        (np.array([[np.inf, 1.0]] * 2), ["a", "b"], "infinity"),
    ],
)
def test_refusals_of_fit(X, y, sentence):
    with pytest.raises(ValueError, match=sentence) as found:
        classifier().fit(X, y)
    assert "of one class, np" not in str(found.value)


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"kind": "inn", "neurons": None}, "reads no signals"),
        ({"kind": "signl"}, "did you mean 'signal'"),
        ({"kind": "signal-lstm"}, "neurons"),
        ({"model": {"head": "values"}}, "model has 'head', which the data and the estimator decide"),
        ({"model": {"rooter": "attention"}}, "rooter"),
        ({"model": 3}, "model must be a dictionary"),
        ({"max_iter": 0}, "max_iter must be a whole number of at least 1, not 0"),
        ({"batch": 2.5}, "batch must be a whole number"),
        ({"validation_fraction": 1}, "validation_fraction must be between 0 and 1, not 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"pool": "max"}, "pool"),
        ({"device": "abacus"}, "device cannot be 'abacus'"),
    ],
)
def test_parameters_that_cannot_be(given, sentence, sequences, labels):
    with pytest.raises(InputError, match=sentence):
        classifier(**given).fit(sequences, labels)


def test_unfitted(sequences):
    for call in (classifier().predict, classifier().predict_proba, regressor().predict, classifier().learn_one):
        with pytest.raises(NotFittedError):
            call(sequences)


def test_after_a_fit_that_failed_it_is_not_fitted(fitted, sequences, labels):
    model = fitted("classifier")
    with pytest.raises(InputError, match="sample_weight"):
        model.fit(sequences, np.where(labels == "low", "a", "b"), np.zeros(24))
    with pytest.raises(NotFittedError):
        model.predict(sequences)


def test_a_table_of_many_channels_is_refused(fitted):
    with pytest.raises(InputError, match=r"X is a table \[n, T\], which holds one channel"):
        fitted("classifier").predict(np.ones((3, 4)))


def test_inn_alone_imports_nothing_of_it():
    code = "import inn, inn.cli.main, sys; assert not {'sklearn', 'pandas', 'inn.sklearn'} & set(sys.modules)"
    path = os.pathsep.join(p for p in sys.path if p)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def test_numbers_that_are_missing_are_refused():
    with pytest.raises(ValueError, match="y of sequence 1 is missing or not finite; leave the sequence out"):
        regressor().fit([np.ones((3, 1)), np.ones((2, 1))], [1.0, None])
