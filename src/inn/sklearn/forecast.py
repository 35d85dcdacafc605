"""What comes next in a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from inn.data.examples import Examples
from inn.data.names import Channels
from inn.inference.evaluate import predictions
from inn.inference.examples import predict_examples
from inn.nn.modes import device_of, learns
from inn.nn.state import State
from inn.sklearn import calendar, sequences
from inn.sklearn.calendar import Kept
from inn.sklearn.learned import Learning, numbered
from inn.sklearn.sequences import Sequences
from inn.sklearn.stored import state_bytes, state_of
from inn.system.errors import InputError

_ERRORS = 10_000  # one-step errors that are kept for sample paths


class Forecaster(Learning):
    """What comes next in a series, or in several, by a model that tells the next step as a change from the last one.

    Args:
        kind, neurons, width, rounds, dropout, model: see `inn.sklearn.base.SequenceEstimator`.
        window: steps of a series that are learned from at a time, from random places.
        max_iter: passes, of as many windows as the series fill, a batch at least.
        batch, lr, weight_decay, device, random_state: as there.
        early_stopping: hold the last steps of each series out, stop where it gets no better, keep what was best.
        validation_fraction, n_iter_no_change: as there.

    Attributes:
        model_: the model, an `inn.SequenceModel` with head `next`.
        n_features_in_, feature_names_in_: channels, and their names where a DataFrame was given.

    >>> y = np.sin(np.arange(200) / 2)
    >>> model = Forecaster(neurons=2, width=4, rounds=1, window=16, max_iter=20, lr=0.03, random_state=0).fit(y[:190])
    >>> model.predict(10).shape, model.update(y[190:]).predict_quantiles(5, [0.1, 0.9]).shape
    ((10,), (5, 2))
    """

    _state: list[tuple[np.ndarray, Any]]

    def __init__(
        self,
        kind: str = "signal",
        *,
        neurons: int | None = None,
        width: int | None = None,
        rounds: int | None = None,
        dropout: float = 0.0,
        model: dict[str, Any] | None = None,
        window: int = 64,
        max_iter: int = 200,
        batch: int = 16,
        lr: float = 5e-3,
        weight_decay: float = 0.01,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        device: str = "auto",
        random_state: Any = None,
    ):
        self.kind = kind
        self.neurons = neurons
        self.width = width
        self.rounds = rounds
        self.dropout = dropout
        self.model = model
        self.window = window
        self.max_iter = max_iter
        self.batch = batch
        self.lr = lr
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state

    @learns
    def fit(self, y: Any) -> Forecaster:
        """Learn from a series, or from several, anew.

        Args:
            y: `[T]` or `[T, F]` numbers, a pandas Series or DataFrame with a time index; or a list of these.
        """
        self.__dict__.pop("model_", None)
        self._check_settings()
        if not isinstance(self.window, int) or self.window < 2:
            raise InputError(f"window must be a whole number of at least 2, not {self.window!r}")
        self._several = isinstance(y, list | tuple) and not all(np.ndim(one) == 0 for one in y)
        series = self._read(y)
        short = np.diff(series.starts) < 3
        if short.any():
            raise InputError(f"series {int(short.argmax())} has fewer than 3 steps; give longer ones")
        if (missing := np.isnan(series.values).all(0)).any():
            raise InputError(f"channel {int(missing.argmax())} is missing everywhere; leave it out")
        self._kept = self._kept_of(y)
        self.n_features_in_ = series.channels
        self.__dict__.pop("feature_names_in_", None)
        if series.names is not None:
            self.feature_names_in_ = np.array(series.names, object)
        seed = self._seed()
        self._new_model(series.channels, series.channels, "next", seed)
        pieces = [_pair(series.values[a:b]) for a, b in zip(series.starts, series.starts[1:])]
        learned, held_out = self._split(pieces) if self.early_stopping else (pieces, None)
        self.model_.standardise(np.concatenate([x for x, _ in learned]))
        self._learn(
            lambda number: self._windows(learned, [seed, 1, number]),
            None if held_out is None else _examples(held_out),
            seed,
        )
        self._errors = self._errors_of(held_out or learned, np.random.default_rng([seed, 2]))
        self._state = self._read_on(series, None)
        return self

    def update(self, y: Any) -> Forecaster:
        """Read what has come since: forecasts begin after it; nothing is learned.

        Args:
            y: the steps that follow what was read before, in the form of `fit`, as many series.
        """
        check_is_fitted(self)
        series = self._read(y)
        if len(series) != len(self._kept):
            raise InputError(f"there are {len(series)} series, and fit was given {len(self._kept)}; give all of them")
        if series.channels != self.n_features_in_:
            raise InputError(f"the series has {series.channels} channels, and fit was given {self.n_features_in_}")
        names = getattr(self, "feature_names_in_", None)
        if names is not None and series.names is not None and list(series.names) != list(names):
            raise InputError(f"the columns are {list(series.names)}, and fit was given {list(names)}; give the same")
        kept = [old.followed(new) for old, new in zip(self._kept, self._kept_of(y))]
        self._state = self._read_on(series, self._state)
        self._kept = kept
        return self

    def predict(self, horizon: int | Sequence[int] = 1) -> Any:
        """The next steps, each read as if it had been seen before the one after it.

        Args:
            horizon: how many, or which ones: `[1, 24]` are the next step and the 24th.

        Returns `[horizon, F]`, of a series `[T]` `[horizon]`; a DataFrame or Series where that was given; a list of
        these for several series.
        """
        steps = self._steps(horizon)
        paths = self._paths(int(steps.max()), 1, None)[:, 0]
        return self._given_back([kept.series(path[steps - 1], steps) for kept, path in zip(self._kept, paths)])

    def predict_quantiles(
        self, horizon: int | Sequence[int] = 1, alpha: Sequence[float] = (0.1, 0.5, 0.9), *, samples: int = 200
    ) -> Any:
        """Quantiles of the next steps, of sample paths: one-step errors seen in learning are added to what is told.

        Args:
            alpha: which quantiles.
            samples: how many paths.

        Returns `[horizon, F, quantiles]`, of a series `[T]` `[horizon, quantiles]`; a DataFrame whose columns have the
        levels channel and quantile, where one was given; a list of these for several series.
        """
        steps = self._steps(horizon)
        levels = np.atleast_1d(np.asarray(alpha, np.float64))
        if not len(levels) or not ((levels > 0) & (levels < 1)).all():
            raise InputError(f"alpha must be between 0 and 1, not {alpha}")
        if not isinstance(samples, int) or samples < 1:
            raise InputError(f"samples must be a whole number of at least 1, not {samples!r}")
        paths = self._paths(int(steps.max()), samples, np.random.default_rng([self._seed(), 3]))[:, :, steps - 1]
        found = np.moveaxis(np.quantile(paths, levels, axis=1), 0, -1)  # [n, horizon, F, Q]
        return self._given_back([kept.quantiles(q, steps, levels) for kept, q in zip(self._kept, found)])

    # -- within

    def _read(self, y: Any) -> Sequences:
        return sequences.of_sequences(y if self._several else [y])

    def _vocabulary(self) -> Channels:
        return Channels(getattr(self, "feature_names_in_", numbered("x", self.n_features_in_)))

    def _kept_of(self, y: Any) -> list[Kept]:
        return [calendar.kept_of(one) for one in (y if self._several else [y])]

    def _given_back(self, found: list[Any]) -> Any:
        return found if self._several else found[0]

    def _steps(self, horizon: Any) -> np.ndarray:
        check_is_fitted(self)
        steps = np.arange(1, horizon + 1) if isinstance(horizon, int | np.integer) else np.asarray(horizon)
        if not steps.size or steps.dtype.kind not in "iu" or steps.ndim != 1 or steps.min() < 1:
            raise InputError(f"horizon must be a number of steps, or steps from 1 on, not {horizon!r}")
        return steps

    def _split(self, pieces: list[Any]) -> tuple[list[Any], list[Any]]:
        """Series up to some moment, and from there on."""
        cuts = [max(2, round(len(x) * (1 - self.validation_fraction))) for x, _ in pieces]
        held_out = [(x[at:], t[at:]) for (x, t), at in zip(pieces, cuts) if len(x) > at]
        if not held_out or not any((~np.isnan(t)).any() for _, t in held_out):
            raise InputError(
                f"the series are too short to hold {self.validation_fraction} of them out; set early_stopping False"
            )
        return [(x[:at], t[:at]) for (x, t), at in zip(pieces, cuts)], held_out

    def _windows(self, pieces: list[Any], seed: list[int]) -> Examples:
        """Windows from random places, as many as the series fill, and a batch at least."""
        rng = np.random.default_rng(seed)
        room = np.array([max(1, len(x) - self.window + 1) for x, _ in pieces])
        count = max(int(self.batch), sum(-(-len(x) // self.window) for x, _ in pieces))
        found = []
        for place in rng.integers(room.sum(), size=count).tolist():
            i = int(np.searchsorted(room.cumsum(), place, "right"))
            at = place - int(room[:i].sum())
            found.append(tuple(a[at : at + self.window] for a in pieces[i]))
        return _examples(found)

    def _errors_of(self, pieces: list[Any], rng: np.random.Generator) -> np.ndarray:
        """One-step errors `[R, F]` of the model on series, of the steps after its first few."""
        examples = _examples(pieces)
        said = predict_examples(self.model_, examples)
        off = np.concatenate([(t - y)[min(8, len(t) // 2) :] for y, (_, t) in zip(said, pieces)])
        off = off[rng.permutation(len(off))[:_ERRORS]]
        for channel in off.T:  # of a value that was missing, another one's
            there = channel[~np.isnan(channel)]
            gaps = np.isnan(channel)
            channel[gaps] = rng.choice(there, gaps.sum()) if len(there) else 0.0
        return off

    def _read_on(self, series: Sequences, states: list[tuple[np.ndarray, State]] | None) -> Any:
        """What is told of the next step, `[F]`, and the state, of each series after reading on."""
        found, device = [], device_of(self.model_)
        for i, (a, b) in enumerate(zip(series.starts, series.starts[1:])):
            signal = torch.from_numpy(series.values[a:b])[None].to(device)
            y, after = next(predictions(self.model_, [signal], states[i][1] if states else None))
            found.append((y[0, -1].cpu().numpy(), after))
        return found

    def _paths(self, steps: int, samples: int, rng: np.random.Generator | None) -> np.ndarray:
        """Paths of the next steps `[n, samples, steps, F]` float64; with random numbers, errors are added to each."""
        states = [s for _, s in self._state]
        state = states[0].concat_batch(*states[1:]) if len(states) > 1 else states[0]
        device = device_of(self.model_)
        state = state.select_batch(torch.arange(len(self._state), device=device).repeat_interleave(samples))
        told = np.repeat(np.stack([y for y, _ in self._state]), samples, 0)
        paths = []
        while True:
            if rng is not None:
                told = told + self._errors[rng.integers(len(self._errors), size=len(told))]
            paths.append(told)
            if len(paths) == steps:
                break
            y, state = next(predictions(self.model_, [torch.from_numpy(told)[:, None].to(device)], state))
            told = y[:, 0].cpu().numpy()
        found = np.stack(paths, 1).astype(np.float64)
        return found.reshape(len(self._state), samples, *found.shape[1:])

    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__()
        if "_state" in kept:
            kept["_state"] = [(y, state_bytes(state)) for y, state in kept["_state"]]
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "_state"):
            device = device_of(self.model_)
            self._state = [(y, state_of(stored, device)) for y, stored in self._state]


def _pair(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The steps of a series and those that follow them."""
    return values[:-1], values[1:]


def _examples(pieces: list[Any]) -> Examples:
    return Examples.of([x for x, _ in pieces], [t for _, t in pieces])
