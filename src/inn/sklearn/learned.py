"""What all estimators have in common: a model that is made, trained, and stored."""

from __future__ import annotations

import numbers
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from inn.config.run import TrainConfig
from inn.data.examples import Examples
from inn.data.names import Channels
from inn.nn.modes import device_of
from inn.runs.checkpoint import pack_optimizer, unpack_optimizer
from inn.sklearn.learning import Learner, Plan, Source, learn, new_model, random_numbers
from inn.sklearn.stored import model_bytes, model_of, tensor_bytes, tensors_of, write_exported
from inn.system.device import resolve_device
from inn.system.errors import InputError


class Learning(BaseEstimator):
    """An estimator with a model of signals; subclasses list the parameters, which are all plain values."""

    kind: str
    neurons: int | None
    width: int | None
    rounds: int | None
    dropout: float
    model: dict[str, Any] | None
    max_iter: int
    batch: int
    lr: float
    weight_decay: float
    validation_fraction: float
    n_iter_no_change: int
    device: str
    random_state: Any
    model_: Any  # a SequenceModel that can `standardise`
    _learner: Learner | None = None

    def _check_settings(self) -> None:
        """Raise `InputError` for parameters that cannot be; those of the model and the optimiser check themselves."""
        for name, low in (("max_iter", 1), ("batch", 1), ("n_iter_no_change", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
                raise InputError(f"{name} must be a whole number of at least {low}, not {value!r}")
        share = self.validation_fraction
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            raise InputError(f"validation_fraction must be between 0 and 1, not {share!r}")
        if self.model is not None and not isinstance(self.model, dict):
            raise InputError(f"model must be a dictionary of the kind's options, not {self.model!r}")

    def _train_config(self) -> TrainConfig:
        return TrainConfig(lr=float(self.lr), weight_decay=float(self.weight_decay), device=self.device)

    def _new_model(self, features: int, outputs: int, head: str, seed: int) -> None:
        device = resolve_device(self.device)
        sizes = {"neurons": self.neurons, "width": self.width, "depth": self.rounds}
        with random_numbers(seed, device):
            model = new_model(self.kind, sizes, self._options(), features=features, outputs=outputs, head=head)
        self.model_ = model.to(device).eval()
        self._learner = None

    def _options(self) -> dict[str, Any]:
        """The options of the model beside its sizes."""
        return {"dropout": self.dropout, **(self.model or {})}

    def _learn(self, draw: Source, held_out: Examples | None, seed: int) -> None:
        """Train the new model, and note how that went."""
        patience = int(self.n_iter_no_change) if held_out is not None else None
        plan = Plan(self._train_config(), int(self.max_iter), int(self.batch), seed, patience)
        with random_numbers(seed + 1, device_of(self.model_)):
            history = learn(self.model_, draw, held_out, plan)
        self.n_iter_ = len(history.losses)
        self.loss_curve_ = history.losses
        self.validation_loss_curve_ = history.held_out if held_out is not None else None

    def _learn_pass(self, examples: Examples, seed: int) -> None:
        """One more pass over examples, at the full rate, with the moments of the passes before."""
        if self._learner is None:
            self._learner = Learner(self.model_, self._train_config())
        number = getattr(self, "n_iter_", 0)
        with random_numbers(seed + number, device_of(self.model_)):
            loss = self._learner.learn_pass(examples, int(self.batch), seed, number, lambda _: float(self.lr))
        self.n_iter_ = number + 1
        self.loss_curve_ = [*getattr(self, "loss_curve_", ()), loss]

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    # -- what is kept

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model as a folder that `inn.load` opens; returns the folder, which must be new or empty."""
        check_is_fitted(self)
        return write_exported(self.model_, self._vocabulary(), folder)

    @abstractmethod
    def _vocabulary(self) -> Channels:
        """What the model reads and tells, by name."""

    def __getstate__(self) -> dict[str, Any]:
        """Plain data and bytes: the weights, the moments and the state as safetensors."""
        kept = dict(super().__getstate__())
        model, learner = kept.get("model_"), kept.pop("_learner", None)
        if model is not None:
            kept["model_"] = model_bytes(model)
            if learner is not None:
                kept["_moments"] = tensor_bytes(pack_optimizer(model, learner.optimizer))
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept = dict(state)
        model, moments = kept.get("model_"), kept.pop("_moments", None)
        super().__setstate__(kept)
        if model is not None:
            self.model_ = model_of(model)
            if moments is not None:
                self._learner = Learner(self.model_, self._train_config())
                unpack_optimizer(self.model_, self._learner.optimizer, tensors_of(moments))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")


def numbered(name: str, count: int) -> list[str]:
    """Names for what has none.

    >>> numbered("x", 2)
    ['x0', 'x1']
    """
    return [f"{name}{i}" for i in range(count)]
