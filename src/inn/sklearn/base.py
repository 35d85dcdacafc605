"""What the estimators of sequences have in common: their parameters, and how they read and learn."""

from __future__ import annotations

import numbers
from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import _check_feature_names, check_consistent_length, check_is_fitted, validate_data

from inn.data.examples import IGNORED, Examples
from inn.inference.examples import predict_examples
from inn.nn.modes import learns
from inn.sklearn import sequences
from inn.sklearn.learned import Learning, numbered
from inn.sklearn.sequences import FORMS, Sequences
from inn.system.errors import InputError

EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a sequence of weight 2 is in one batch of a pass, two copies of it are in two: the steps taken differ"
    ),
    "check_methods_subset_invariance": (
        "float32: how a product is rounded depends on how many rows are multiplied together, by parts in a million"
    ),
}
"""The checks of `sklearn.utils.estimator_checks` that cannot hold for models learned in batches, and why; a sequence of
weight 0 is as if it were not there."""


class SequenceEstimator(Learning):
    """What `SequenceClassifier` and `SequenceRegressor` have in common.

    Sequences (X) are given as one of these, NaN where a value is missing, `T` of their own each:

    - a list of arrays `[T, F]`, or `[T]` with one channel;
    - a list of pandas DataFrames, whose columns are the channels and whose index rises (how far apart steps are is not
      told to the model: make it a channel where it matters); or one DataFrame with an index of two levels, sequence and
      time, as sktime has it;
    - an array `[n, T, F]`. aeon and sktime write `[n, F, T]`, and `[F, T]` in a list: set `channels_first`;
    - a table `[n, T]`, array or DataFrame: one channel, a step in each column. It is what scikit-learn itself takes X
      for, so the number and the names of its columns are held to in later calls.

    Args:
        kind: of model: `signal` (a graph of neurons), `signal-lstm`, `signal-gru`, `signal-mamba`,
            `signal-transformer`, or one of your own.
        neurons, width, rounds: of the graph; of other kinds `rounds` are layers. None: 4, 16, 2; of other kinds width
            64 and 2 layers.
        pool: what is told is told of the mean over the steps of the sequence (`mean`) or of the last step (`none`).
        dropout: in training.
        model: other options of the kind, by name: `{"router": "attention"}`.
        max_iter: passes over the sequences.
        batch: sequences of a step.
        lr: peak learning rate of AdamW; it warms up and falls by a cosine. In `partial_fit` and `learn_one` it stays.
        weight_decay: of AdamW.
        early_stopping: hold a part of the sequences out, stop where it gets no better, keep the model that was best.
        validation_fraction: how much of them.
        n_iter_no_change: passes in a row without a better one, after which learning ends.
        channels_first: arrays are `[n, F, T]` and `[F, T]`.
        device: `auto`, `cpu`, `cuda`, ...
        random_state: of weights, order and dropout; a whole number makes a second fit the same as the first.

    Attributes:
        model_: the model, an `inn.SequenceModel`, standardised by the training sequences.
        n_features_in_, feature_names_in_: channels, and their names where there are any; of a table its columns.
        n_iter_, loss_curve_, validation_loss_curve_: passes, and the loss of each, in nats.
    """

    def __init__(
        self,
        kind: str = "signal",
        *,
        neurons: int | None = None,
        width: int | None = None,
        rounds: int | None = None,
        pool: str = "mean",
        dropout: float = 0.0,
        model: dict[str, Any] | None = None,
        max_iter: int = 60,
        batch: int = 16,
        lr: float = 5e-3,
        weight_decay: float = 0.01,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        channels_first: bool = False,
        device: str = "auto",
        random_state: Any = None,
    ):
        self.kind = kind
        self.neurons = neurons
        self.width = width
        self.rounds = rounds
        self.pool = pool
        self.dropout = dropout
        self.model = model
        self.max_iter = max_iter
        self.batch = batch
        self.lr = lr
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.channels_first = channels_first
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags

    def _options(self) -> dict[str, Any]:
        return {"pool": self.pool, **super()._options()}

    # -- what is read

    def _read(self, X: Any, reset: bool) -> Sequences:
        """Sequences of X; `reset`: the first ones, whose channels and names others are held to."""
        if sequences.is_table(X):
            if not reset and self._channels != 1:
                raise InputError(
                    f"X is a table [n, T], which holds one channel, and {type(self).__name__} was fitted on "
                    f"{self._channels}; {FORMS}"
                )
            how: Any = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
            own = reset or not self._of_sequences
            table: Any = validate_data(self, X, reset=reset, **how) if own else check_array(X, **how)
            found = sequences.of_table(table)
        else:
            found = sequences.of_sequences(X, self.channels_first)
            if reset or self._of_sequences:
                _check_feature_names(self, sequences.first_of(X), reset=reset)
            if not reset and found.channels != self._channels:
                raise InputError(
                    f"the sequences have {found.channels} channels, and {type(self).__name__} was fitted on "
                    f"{self._channels}; give the same channels"
                )
            if reset:
                self.n_features_in_ = found.channels
        if reset:
            missing = np.isnan(found.values).all(0)
            if missing.any():
                at = int(missing.argmax())
                called = f"'{found.names[at]}'" if found.names else str(at)
                raise InputError(f"channel {called} is missing in every sequence; leave it out")
            self._channels, self._names, self._of_sequences = found.channels, found.names, not sequences.is_table(X)
        return found

    def _weights(self, sample_weight: Any, count: int) -> np.ndarray:
        """What each sequence counts, `[n]`, on average 1; those of weight 0 are not learned from."""
        if sample_weight is None:
            return np.ones(count, np.float32)
        if isinstance(sample_weight, numbers.Number):
            sample_weight = np.full(count, sample_weight)
        weights = sequences.as_numbers(sample_weight, "sample_weight")
        if weights.shape != (count,):
            raise InputError(f"sample_weight must be [{count}], one for each sequence, not {list(weights.shape)}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise InputError("sample_weight must be finite and at least 0 everywhere")
        if not weights.any():
            raise InputError("sample_weight is 0 everywhere; it must contain at least one non-zero number")
        return (weights / weights[weights > 0].mean()).astype(np.float32)

    # -- learning

    @abstractmethod
    def _read_targets(self, y: Any, reset: bool) -> np.ndarray:
        """Classes by number `[n]`, or values `[n, O]`."""

    @abstractmethod
    def _outputs(self) -> tuple[int, str]:
        """How many outputs the model has, and its head."""

    def _examples(self, found: Sequences, targets: np.ndarray, weights: np.ndarray) -> Examples:
        flat = nothing_of(targets, len(found.values))
        flat[found.ends] = targets
        examples = Examples(found.values, flat, found.starts, None if (weights == weights[0]).all() else weights)
        return examples if weights.all() else examples.take(np.flatnonzero(weights))

    def _given(self, X: Any, y: Any, sample_weight: Any, reset: bool, first: bool) -> Examples:
        self._check_settings()
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        found = self._read(X, reset)
        check_consistent_length(np.empty(len(found)), y)
        targets = self._read_targets(y, first)
        return self._examples(found, targets, self._weights(sample_weight, len(found)))

    @learns
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Learn from sequences and their targets, anew.

        Args:
            X: n sequences; see the class.
            y: `[n]`.
            sample_weight: `[n]`, what each sequence counts.
        """
        self.__dict__.pop("model_", None)  # classes and channels are no longer its own, should this fit fail
        examples = self._given(X, y, sample_weight, True, True)
        self._check_enough(examples)
        seed = self._seed()
        self._begin(examples, seed)
        held_out = None
        if self.early_stopping:
            examples, held_out = self._split(examples, seed)
        self._learn(lambda _: examples, held_out, seed)
        return self

    def _begin(self, examples: Examples, seed: int) -> None:
        outputs, head = self._outputs()
        self._new_model(self._channels, outputs, head, seed)
        self.model_.standardise(examples.inputs, examples.targets if examples.targets.ndim == 2 else None)
        self.reset_state()

    def _check_enough(self, examples: Examples) -> None:
        """Raise `InputError` where there is too little to learn from."""

    def _split(self, examples: Examples, seed: int) -> tuple[Examples, Examples]:
        """A part to learn from, and one to tell by when to stop."""
        from sklearn.model_selection import train_test_split

        targets = examples.targets[examples.starts[1:] - 1]
        stratified = targets if targets.ndim == 1 else None
        try:
            parts = train_test_split(
                np.arange(len(examples)),
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=stratified,
            )
        except ValueError:
            raise InputError(
                f"{len(examples)} sequences are too few to hold {self.validation_fraction} of them out; "
                "set early_stopping False, or another validation_fraction"
            ) from None
        return examples.take(np.sort(parts[0])), examples.take(np.sort(parts[1]))

    def _channel_names(self) -> list[str]:
        return list(self._names or numbered("x", self._channels))

    # -- telling

    def _told(self, X: Any) -> np.ndarray:
        """What the model says at the last step of each sequence, `[n, O]` float64."""
        check_is_fitted(self)
        found = self._read(X, False)
        nothing = np.full(len(found.values), IGNORED)
        said = predict_examples(self.model_, Examples(found.values, nothing, found.starts))
        return np.stack([y[-1] for y in said]).astype(np.float64)

    @abstractmethod
    def reset_state(self) -> Any:
        """Forget the stream that `learn_one` has read."""


def nothing_of(targets: np.ndarray, steps: int) -> np.ndarray:
    """Targets `[steps, ...]` of the kind of others, none of which counts."""
    return np.full((steps, *targets.shape[1:]), np.nan if targets.dtype.kind == "f" else IGNORED, targets.dtype)
