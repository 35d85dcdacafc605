"""Sequences to a class, or to numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y

from inn.data.examples import Examples
from inn.data.names import Channels
from inn.nn.modes import learns
from inn.sklearn.base import SequenceEstimator
from inn.sklearn.learned import numbered
from inn.sklearn.sequences import single
from inn.sklearn.stepwise import Stepwise
from inn.system.errors import InputError


class SequenceClassifier(ClassifierMixin, Stepwise, SequenceEstimator):
    """Sequences to a class each, by a model of signals. The parameters: `inn.sklearn.base.SequenceEstimator`.

    Attributes:
        classes_: the classes, sorted.

    >>> rng = np.random.default_rng(0)
    >>> y = ["up", "down"] * 20
    >>> X = [rng.normal(label == "up", size=(rng.integers(4, 9), 3)) for label in y]   # sequences of 4 to 8 steps
    >>> model = SequenceClassifier(neurons=2, width=4, rounds=1, max_iter=8, lr=0.03, random_state=0).fit(X, y)
    >>> model.predict(X[:2]).shape, model.predict_proba(X).shape, model.score(X, y) > 0.9
    ((2,), (40, 2), True)
    """

    def _read_targets(self, y: Any, reset: bool) -> np.ndarray:
        y = _check_y(y, multi_output=False, estimator=self)
        check_classification_targets(y)
        if reset:
            self.classes_ = np.unique(y)
        at = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = self.classes_[at] != y
        if unknown.any():
            raise InputError(f"y holds the class {y[unknown].tolist()[0]!r}, which is none of {self.classes_.tolist()}")
        return at.astype(np.int64)

    def _outputs(self) -> tuple[int, str]:
        return len(self.classes_), "classes"

    def _vocabulary(self) -> Channels:
        return Channels(self._channel_names(), classes=map(str, self.classes_.tolist()))

    def _check_enough(self, examples: Examples) -> None:
        seen = np.unique(examples.targets[examples.starts[1:] - 1])
        if len(seen) < 2:
            raise InputError(
                f"all sequences that count are of one class, {self.classes_.tolist()[seen[0]]!r}; give two at least"
            )

    @learns
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> SequenceClassifier:
        """Learn from one more pass over sequences; see `fit`.

        Args:
            classes: all that there will ever be, in the first call; later ones may leave it out.
        """
        first = not hasattr(self, "model_")
        if first and classes is None:
            raise InputError("classes must be passed in the first call of partial_fit: all that there will ever be")
        if classes is not None:
            given = np.unique(np.asarray(classes))
            if not first and not np.array_equal(given, self.classes_):
                raise InputError(f"classes {given.tolist()} are not those of the first call, {self.classes_.tolist()}")
            if len(given) < 2:
                raise InputError("classes must be two at least")
            self.classes_ = given
        examples = self._given(X, y, sample_weight, first, False)
        if first:
            self._begin(examples, self._seed())
        self._learn_pass(examples, self._seed())
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, `[n, classes]`, in the order of `classes_`."""
        return _softmax(self._told(X))

    def predict(self, X: Any) -> np.ndarray:
        """The class of each sequence, `[n]`."""
        chosen = self._told(X).argmax(1)
        return self.classes_[chosen]

    def predict_one(self, x: Any) -> Any:
        """The class of the stream that `learn_one` has read so far, were x its next step; nothing is remembered."""
        chosen = int(self._peek(x).argmax())
        return self.classes_[chosen].item()

    def predict_proba_one(self, x: Any) -> dict[Any, float]:
        """The same as probabilities by class."""
        told = self._peek(x)[None]
        return dict(zip(self.classes_.tolist(), _softmax(told)[0].tolist()))

    def _target_one(self, y: Any) -> np.ndarray:
        return self._read_targets([y], False)


class SequenceRegressor(RegressorMixin, Stepwise, SequenceEstimator):
    """Sequences to a number each, or several, by a model of signals. Parameters: `inn.sklearn.base.SequenceEstimator`.

    >>> X = np.random.default_rng(0).normal(size=(40, 6, 2))
    >>> y = X.sum((1, 2))
    >>> model = SequenceRegressor(neurons=2, width=4, rounds=1, max_iter=8, lr=0.03, random_state=0).fit(X, y)
    >>> model.predict(X).shape, model.score(X, y) > 0.3
    ((40,), True)
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _read_targets(self, y: Any, reset: bool) -> np.ndarray:
        y = _check_y(y, multi_output=True, y_numeric=True, estimator=self)
        values = np.asarray(y, np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if (missing := ~np.isfinite(values).all(1)).any():  # of objects, which _check_y lets through
            raise InputError(f"y of sequence {int(missing.argmax())} is missing or not finite; leave the sequence out")
        if reset:
            self._target_dims, self.n_outputs_ = y.ndim, values.shape[1]
        elif values.shape[1] != self.n_outputs_:
            raise InputError(f"y has {values.shape[1]} numbers for each sequence, and the first call {self.n_outputs_}")
        return single(values, lambda i, o: f"number {o} of y for sequence {i}")

    def _outputs(self) -> tuple[int, str]:
        return self.n_outputs_, "values"

    def _vocabulary(self) -> Channels:
        return Channels(self._channel_names(), values=numbered("y", self.n_outputs_))

    @learns
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Learn from one more pass over sequences; see `fit`."""
        first = not hasattr(self, "model_")
        examples = self._given(X, y, sample_weight, first, first)
        if first:
            self._begin(examples, self._seed())
        self._learn_pass(examples, self._seed())
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The number of each sequence, `[n]`, or the numbers `[n, O]`, as y was."""
        told = self._told(X)
        return told[:, 0] if self._target_dims == 1 else told

    def predict_one(self, x: Any) -> Any:
        """The number of the stream that `learn_one` has read so far, were x its next step; nothing is remembered."""
        told = self._peek(x)
        return float(told[0]) if self._target_dims == 1 else told

    def _target_one(self, y: Any) -> np.ndarray:
        return self._read_targets([np.atleast_1d(y) if self._target_dims == 2 else y], False)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
