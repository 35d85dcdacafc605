"""Step by step: a stream that is read, told of, and learned from as it comes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from inn.inference.evaluate import predictions
from inn.nn.modes import device_of, learns
from inn.nn.state import State
from inn.sklearn import sequences
from inn.sklearn.base import SequenceEstimator, nothing_of
from inn.sklearn.learning import Learner, random_numbers
from inn.sklearn.stored import state_bytes, state_of
from inn.system.errors import InputError

WINDOW = 32
"""Steps that the gradient of a step reaches back, at most."""


@dataclass
class Stream:
    """Where a stream stands.

    Attributes:
        steps: the latest ones, `[F]` each.
        before: the state before them, None at the start.
        now: the state after them.
    """

    steps: list[np.ndarray]
    before: State | None = None
    now: State | None = None


class Stepwise(SequenceEstimator):
    """`learn_one`, `predict_one` and `reset_state`, on one stream whose state is carried from call to call."""

    _stream: Stream | None = None

    @learns
    def learn_one(self, x: Any, y: Any = None, *, last: bool = False) -> Any:
        """Read the next step of the stream, and learn from it where there is a target.

        Args:
            x: `[F]` numbers, or a dictionary of them by the names of the channels; NaN or not there: missing.
            y: the target of the stream up to here; None where it is not known: then the step is only read.
            last: the stream ends here; the next step begins another.

        The estimator is fitted already, by `fit` or `partial_fit`. The gradient reaches back 32 steps at most.
        """
        step = self._step_of(x)
        target = None if y is None else self._target_one(y)
        stream = self._stream or Stream([])
        before, steps = stream.before, stream.steps
        if len(steps) == WINDOW:  # the older half is only remembered
            half = WINDOW // 2
            before = self._read_on(np.stack(steps[:half]), before)[1]
            steps = steps[half:]
        steps = [*steps, step]
        if target is None:
            now = self._read_on(step[None], stream.now)[1]
        else:
            now = self._learn_step(np.stack(steps), target, before)
        self._stream = None if last else Stream(steps, before, now)
        return self

    def reset_state(self) -> Any:
        """Begin a new stream: the next step is its first."""
        self._stream = None
        return self

    def _peek(self, x: Any) -> np.ndarray:
        """What the model would say, `[O]`, were x the next step of the stream."""
        step = self._step_of(x)
        return self._read_on(step[None], self._stream.now if self._stream else None)[0]

    def _read_on(self, steps: np.ndarray, state: State | None) -> tuple[np.ndarray, State]:
        """What the model says after some more steps `[T, F]` of the stream, `[O]` float64, and the state then."""
        signal = torch.from_numpy(steps)[None].to(device_of(self.model_))
        y, after = next(predictions(self.model_, [signal], state))
        return y[0, -1].cpu().numpy().astype(np.float64), after

    def _learn_step(self, steps: np.ndarray, target: np.ndarray, before: State | None) -> State:
        """Learn the target of the last of some steps `[T, F]`; returns the state after them."""
        if self._learner is None:
            self._learner = Learner(self.model_, self._train_config())
        targets = nothing_of(target, len(steps))[None]
        targets[0, -1] = target[0]
        device = device_of(self.model_)
        with random_numbers(self._seed(), device):
            return self._learner.go_on(
                torch.from_numpy(steps)[None].to(device), torch.from_numpy(targets).to(device), before, float(self.lr)
            )

    def _step_of(self, x: Any) -> np.ndarray:
        """One step as numbers `[F]` float32."""
        check_is_fitted(self)
        if isinstance(x, Mapping):
            x = self._by_name(x)
        values = sequences.as_numbers(x, "a step").reshape(-1)
        if len(values) != self._channels:
            raise InputError(
                f"a step has {len(values)} channels, and {type(self).__name__} was fitted on {self._channels}; "
                "give the same channels"
            )
        return sequences.single(values, lambda channel: f"channel {channel} of a step")

    def _by_name(self, x: Mapping[str, Any]) -> list[Any]:
        if self._names is None:
            raise InputError(
                f"a step is given by names, and {type(self).__name__} was fitted without any; give an array [F], "
                "or fit on DataFrames"
            )
        for name in x:
            if name not in self._names:
                raise InputError(f"a step has the channel '{name}', which is none of {', '.join(self._names)}")
        return [x.get(name, np.nan) for name in self._names]

    @abstractmethod
    def _target_one(self, y: Any) -> np.ndarray:
        """A target as a batch of one."""

    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__()
        stream = kept.pop("_stream", None)
        if stream is not None:
            steps = np.stack(stream.steps)
            states = [state_bytes(state) for state in (stream.before, stream.now)]
            kept["_stream"] = [steps.tobytes(), *states]
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept = dict(state)
        stream = kept.pop("_stream", None)
        super().__setstate__(kept)
        if stream is not None:
            steps = np.frombuffer(stream[0], np.float32).reshape(-1, self._channels)
            self._stream = Stream([*steps.copy()], *(state_of(part, device_of(self.model_)) for part in stream[1:]))
