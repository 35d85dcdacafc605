"""The contract of an objective: what a training step minimises, and what it does before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from inn.config.parts import Options as PartOptions
from inn.config.run import TrainConfig
from inn.data.streams import Batch
from inn.inference.evaluate import Score
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.training.average import Average
from inn.training.parallel.group import Group


@dataclass(frozen=True)
class Context:
    """What an objective works with.

    Attributes:
        model: the model itself. Under DDP every process has a copy, under FSDP its parameters are shards.
        forward: `forward(tokens, state, reset=reset) -> (logits, state)`: the model under training, with the types that
            it is trained in. Every pass with gradients goes through it.
        optimizer: of the model's parameters, where moments must follow a changed weight.
        group: the processes that train together.
        steps: of the whole run.
        average: that of the weights, where there is one, which must follow a changed weight as moments must.
    """

    model: SequenceModel
    forward: Callable[..., tuple[Tensor, State]]
    optimizer: torch.optim.Optimizer
    group: Group
    steps: int
    average: Average | None = None


@dataclass(frozen=True)
class MicroBatch:
    """Rows of a batch that go through the model together.

    Attributes:
        inputs, targets: `[B, T]` int64; targets of -100 are left out. Of a signal, `[B, T, F]` and `[B, T]` or
            `[B, T, O]`, in which NaN is left out.
        state: carried from the batch before, of these rows; None starts afresh.
        reset: `[B, T]` bool, where the state starts afresh before a step; None where it goes on everywhere.
        weights: `[B]`, what the targets of each row count in the loss; None: 1.
        found: what is recalled at each step, where it is known beforehand; None: the model looks it up.
    """

    inputs: Tensor
    targets: Tensor
    state: State | None = None
    reset: Tensor | None = None
    weights: Tensor | None = None
    found: Mapping[str, Tensor] | None = None

    @property
    def known(self) -> dict[str, Any]:
        """What a pass is told beside symbols, state and reset."""
        return {} if self.found is None else {"found": self.found}


@dataclass(frozen=True)
class Loss:
    """What an objective makes of a micro-batch.

    Attributes:
        nats: the loss, summed over the targets of these rows; 0-dim, with a graph of gradients. The trainer divides it
            by the number of targets of all micro-batches and processes.
        state: after the last symbol, for the batch that follows. Its `penalties` are added to the loss. It may hold
            more than the model's (`inn.training.objectives.carried`): what comes back as `MicroBatch.state`.
        penalties: what else is added, in nats by name, whatever the number of targets; 0-dim. Micro-batches count by
            their rows, so what does not depend on the rows counts once. A name that `state.penalties` has adds up.
        metrics: what is to be logged, as `objective.NAME`; 0-dim, summed over the targets of these rows like the loss.
    """

    nats: Tensor
    state: State
    penalties: Mapping[str, Tensor] = field(default_factory=dict)
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class StepResult:
    """What a step came to, over all micro-batches and processes: the same in each process, but for the state."""

    loss: float
    """Nats per symbol, penalty not included."""
    penalty: float
    """Nats that the model and the objective added."""
    grad_norm: float
    """Before clipping."""
    state: State | None
    """The state to carry on, of this process's rows; None when it is not carried."""
    penalties: dict[str, float] = field(default_factory=dict)
    """The penalty by name."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What the objective measured, per symbol."""

    def named(self) -> dict[str, float]:
        """Penalties and metrics by the names that logs have for them."""
        penalties = {f"penalty.{name}": value for name, value in self.penalties.items()}
        return penalties | {f"objective.{name}": value for name, value in self.metrics.items()}


class Objective:
    """The loss that a training step minimises. A subclass defines `loss`, and other methods if it needs them.

    In every step `before_step` is called once, `loss` for each micro-batch, and `after_step` after the optimiser step.
    All processes must do the same: changes to weights or to the objective's state may depend on the step, on
    `StepResult` and on `generator`, which are the same in all processes, but not on rows of a batch.

    Args:
        options: an instance of the class's `Options`.
        context: the model under training, and what goes with it.
        config: how it is trained.

    Attributes:
        Options: the dataclass of the objective's options.
        reads_forward: whether each pass of the model is told what is recalled (`**batch.known`), as a text that is read
            forward (`data.order`) needs.
        options, context, config: as they were given.
        model, forward: those of the context.
    """

    Options: type[PartOptions] = PartOptions
    reads_forward: bool = False

    def __init__(self, options: Any, context: Context, config: TrainConfig):
        self.options, self.context, self.config = options, context, config
        self.model, self.forward = context.model, context.forward

    def loss(self, batch: MicroBatch) -> Loss:
        """The loss of a micro-batch.

        It changes nothing but through gradients: where a number is not finite it is called once more for the same rows.
        """
        raise NotImplementedError

    def around(self, batch: MicroBatch, loss: Callable[[MicroBatch], Loss]) -> Loss:
        """What is made of another objective's `loss`, where several are stacked (`nested+distil`).

        One that has this is a subclass of `Predict` and has no `loss`: by itself it goes around the prediction's.
        """
        return loss(batch)

    def before_run(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Called once before the first step of a new run; it may train, on fresh batches of the training part.

        Every process gets all rows. What it returns, by name, is told in the log (event `objective`).
        """
        return {}

    def before_step(self, step: int) -> None:
        """Called before the forward passes of a step, from 1."""

    def after_step(self, step: int, result: StepResult) -> None:
        """Called when the optimiser has stepped; it may change weights."""

    def measure(self, score: Callable[[], Score]) -> dict[str, float]:
        """What a validation is to tell besides, as `objective.NAME`; `score()` validates the model as it is then."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the objective, by name: tensors, and JSON-able values with finite numbers.

        All processes call it at the same step; the main one's is written.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state_dict` gave; tensors come on the model's device."""

    def generator(self, step: int) -> torch.Generator:
        """Random numbers for a step, on the CPU: the same in all processes, and again after a resume."""
        # Beyond the seeds that the processes' own random numbers start from.
        return torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) * 65_537 + 65_536)
