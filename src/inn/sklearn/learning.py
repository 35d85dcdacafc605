"""How an estimator learns: passes over examples in memory, by the steps of the trainer, without a run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.config.assemble import model_config
from inn.config.run import TrainConfig
from inn.data.examples import Examples
from inn.inference.examples import evaluate_examples
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.nn.modes import device_of
from inn.nn.state import State
from inn.registry import MODELS
from inn.system.errors import InputError
from inn.training.optim import build_optimizer, build_schedule
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper

GRAPH, OTHER = {"neurons": 4, "width": 16, "depth": 2}, {"width": 64, "depth": 2}
"""Sizes where none are given, which suit some hundreds of sequences: of a graph, and of other kinds."""
Source = Callable[[int], Examples]
"""The examples of a pass, by its number."""
DECIDED = ("kind", "features", "outputs", "head")


@dataclass(frozen=True)
class Plan:
    """How long and how fast to learn; see the parameters of `inn.sklearn.base.Estimator`."""

    train: TrainConfig
    epochs: int
    batch: int
    seed: int
    patience: int | None = None


@dataclass(frozen=True)
class History:
    """What learning came to, pass by pass: the mean loss of its steps, and that of the held-out part."""

    losses: list[float]
    held_out: list[float]


def new_model(kind: str, sizes: dict[str, int | None], rest: dict[str, Any], **decided: Any) -> SequenceModel:
    """A fresh model of signals.

    Args:
        sizes: `neurons`, `width` and `depth` (rounds or layers); None is what suits the kind.
        rest: other options of the kind, by name.
        decided: `features`, `outputs`, `head`, as the data has them.

    Raises `InputError` for a kind that reads no signals, and for options that it has not.
    """
    MODELS.check(kind)
    known = {f.name for f in fields(type(model_config(kind)))}
    if "features" not in known:
        raise InputError(f"a model of kind '{kind}' reads no signals; choose kind 'signal', 'signal-lstm', ...")
    for name in DECIDED:
        if name in rest:
            raise InputError(f"model has '{name}', which the data and the estimator decide; leave it out")
    own = GRAPH if "neurons" in known else OTHER
    chosen = {name: own.get(name) if size is None else size for name, size in sizes.items()}
    depth = "rounds" if "rounds" in known else "layers"
    given = {depth if name == "depth" else name: size for name, size in chosen.items() if size is not None}
    return build_model(model_config(kind, **{**given, **rest, **decided}))


def order_of(count: int, batch: int, seed: int, number: int) -> Iterator[np.ndarray]:
    """The batches of one pass: numbers of examples, each once, in an order that follows from seed and pass."""
    order = np.random.default_rng([seed, number]).permutation(count)
    for at in range(0, count, batch):
        yield order[at : at + batch]


def tensors_of(examples: Examples, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    """Inputs, targets and weights of a batch. The steps that fill a row up come last, and need no mask."""
    inputs, targets, _ = examples.padded()
    weights = None if examples.weights is None else torch.from_numpy(examples.weights).to(device)
    return torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device), weights


class Learner:
    """Takes steps on a model, with moments that last from call to call.

    Attributes:
        optimizer: the moments, which `inn.runs.checkpoint` can store.
    """

    def __init__(self, model: SequenceModel, train: TrainConfig, steps: int = 0):
        self.model, self.train = model, train
        self.optimizer = build_optimizer(model, train)
        self._whole, self._on = (
            Stepper(SingleDevice(model), self.optimizer, train, carry=carry, steps=steps) for carry in (False, True)
        )
        self._steps = 0

    def step(self, examples: Examples, lr: float) -> float:
        """One step on a batch; returns its loss."""
        self._steps += 1
        inputs, targets, weights = tensors_of(examples, device_of(self.model))
        return self._whole(inputs, targets, None, None, lr, self._steps, weights=weights).loss

    def go_on(self, inputs: Tensor, targets: Tensor, state: State | None, lr: float) -> State:
        """One step on streams `[B, T, F]` that go on from a state; returns the state after them."""
        self._steps += 1
        self.model.train()
        after = self._on(inputs, targets, None, state, lr, self._steps).state
        self.model.eval()
        assert after is not None
        return after

    def learn_pass(self, examples: Examples, batch: int, seed: int, number: int, lr: Any) -> float:
        """One pass over the examples, `lr(step of the pass)`; returns the mean loss of its steps."""
        self.model.train()
        found = []
        for i, chosen in enumerate(order_of(len(examples), batch, seed, number)):
            part = examples.take(chosen)
            if part.counted:  # of a series with long gaps there may be nothing to learn from
                found.append(self.step(part, lr(i)))
        self.model.eval()
        return float(np.mean(found)) if found else 0.0


def learn(model: SequenceModel, draw: Source, held_out: Examples | None, plan: Plan) -> History:
    """Train a model, and leave it in evaluation mode; with a held-out part, as it was when that went best.

    `draw` gives the examples of each pass, as many in all of them. Learning ends after `plan.epochs` passes, or after
    `plan.patience` in a row that did not make the held-out loss less.
    """
    each = -(-len(draw(0)) // plan.batch)
    schedule = build_schedule(plan.train, each * plan.epochs)
    learner, losses, scores = Learner(model, plan.train, each * plan.epochs), [], []
    best, kept = float("inf"), None
    for number in range(plan.epochs):
        rate = lambda i, first=number * each: schedule(first + i)  # noqa: E731
        losses.append(learner.learn_pass(draw(number), plan.batch, plan.seed, number, rate))
        if held_out is None:
            continue
        score = evaluate_examples(model, held_out)
        scores.append(score.nats / score.count)
        if scores[-1] < best:
            best, kept = scores[-1], {name: t.clone() for name, t in model.state_dict().items()}
        elif plan.patience is not None and len(scores) - 1 - int(np.argmin(scores)) >= plan.patience:
            break
    if kept is not None:
        model.load_state_dict(kept)
    model.eval()
    return History(losses, scores)


@contextlib.contextmanager
def random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers of PyTorch that follow from a seed inside, and go on afterwards as if nothing had been."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
