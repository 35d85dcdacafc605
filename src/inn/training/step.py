"""One optimiser step: micro-batches, loss, gradients, clipping, and what to do when a number is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.config.run import TrainConfig
from inn.nn.state import State
from inn.training.finite import TrainingDiverged, first_not_finite
from inn.training.parallel.single import SingleDevice

IGNORED = -100
"""The target of a position that is not trained on."""


@dataclass(frozen=True)
class StepResult:
    """What a step came to."""

    loss: float
    """Nats per symbol, penalty not included."""
    penalty: float
    """Nats that the model added."""
    grad_norm: float
    """Before clipping."""
    state: State | None
    """The state to carry on; None when it is not carried."""


def trim(
    inputs: Tensor, targets: Tensor, symbols: int, batch: int | None = None, first: int = 0
) -> tuple[Tensor, Tensor]:
    """Cut a batch `[B, T]` to exactly `symbols` targets: fewer columns, and ignored rows in the last of them.

    Where these are some rows of a larger batch, `batch` is its size and `first` the place of the first of them.

    >>> inputs, targets = trim(torch.zeros(2, 4), torch.zeros(2, 4), 3)
    >>> list(inputs.shape), targets.tolist()
    ([2, 2], [[0.0, 0.0], [0.0, -100.0]])
    """
    rows = batch or inputs.shape[0]
    columns = math.ceil(symbols / rows)
    inputs, targets = inputs[:, :columns], targets[:, :columns].clone()
    targets[max(0, symbols - (columns - 1) * rows - first) :, -1] = IGNORED
    return inputs, targets


class Stepper:
    """Takes optimiser steps on a model.

    Args:
        strategy: of a model in training mode, on its device.
        optimizer: over the model's parameters; the learning rate is set at every step.
        config: clipping, accumulation and precision are read from it.
        carry: carry the state from batch to batch (contiguous streams), or start each batch afresh.
    """

    def __init__(self, strategy: SingleDevice, optimizer: torch.optim.Optimizer, config: TrainConfig, carry: bool):
        self.strategy = strategy
        self.model = strategy.model
        self.optimizer = optimizer
        self.config = config
        self.carry = carry
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def __call__(
        self,
        inputs: Tensor,
        targets: Tensor,
        reset: Tensor | None,
        state: State | None,
        lr: float,
        step: int,
        count: int | None = None,
    ) -> StepResult:
        """Take one step.

        Args:
            inputs, targets: `[B, T]` int64, this process's rows; targets of -100 are left out of the loss.
            reset: `[B]` bool, rows whose text starts anew; None when no row's does.
            state: carried from the batch before; None starts afresh.
            step: the number of this step, from 1, for the error.
            count: targets of all processes together; None where this one is alone, and counts them.

        Raises `TrainingDiverged` when loss or gradient is NaN or infinite; weights, optimiser and state are then
        those of the step before.
        """
        strategy = self.strategy
        random = strategy.pack_rng()

        def passes() -> tuple[Tensor, Tensor, State | None]:
            strategy.begin_step(step, inputs.shape[0] * strategy.group.world)
            return self._passes(inputs, targets, reset, state, count)

        loss, penalty, carried = passes()
        norm = strategy.grad_norm([p.grad for p in self.parameters if p.grad is not None])
        values = torch.stack([loss, penalty, norm.to(loss.device)]).tolist()  # the one wait for the device
        values[:2] = strategy.group.sum(*values[:2])
        if not all(math.isfinite(v) for v in values):
            strategy.unpack_rng(random)
            where = strategy.locate(lambda: first_not_finite(self.model, state, passes))
            raise TrainingDiverged(self._sentence(step, values, where))
        if self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        return StepResult(values[0], values[1], values[2], carried)

    def _passes(
        self, inputs: Tensor, targets: Tensor, reset: Tensor | None, state: State | None, count: int | None
    ) -> tuple[Tensor, Tensor, State | None]:
        """Forward and backward over all micro-batches; mean loss, mean penalty and the state after them.

        Of several processes each has its part of the two means; their gradients are averaged over the processes, so a
        part counts as many times as there are of them.
        """
        self.optimizer.zero_grad(set_to_none=True)
        batch, device, world = inputs.shape[0], inputs.device, self.strategy.group.world
        symbols = (targets != IGNORED).sum() if count is None else count
        loss, penalty = torch.zeros((), device=device), torch.zeros((), device=device)
        states: list[State] = []
        for rows in torch.arange(batch).tensor_split(self.config.accumulate):
            whole = len(rows) == batch
            part = state if whole or state is None else state.select_batch(rows)
            chosen = slice(int(rows[0]), int(rows[-1]) + 1)
            starts = None
            if reset is not None and self.carry:  # where nothing is carried, every row starts afresh as it is
                starts = torch.zeros_like(inputs[chosen], dtype=torch.bool)
                starts[:, 0] = reset[chosen]
            with self.strategy.sync_gradients(last=int(rows[-1]) == batch - 1):
                with torch.autocast(device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
                    logits, new = self.strategy.forward(inputs[chosen], part, reset=starts)
                nats = F.cross_entropy(
                    logits.float().flatten(0, 1), targets[chosen].flatten(), ignore_index=IGNORED, reduction="sum"
                )
                nats = nats / symbols
                extra = sum((p.float() for p in new.penalties.values()), torch.zeros((), device=device))
                extra = extra * (len(rows) / (batch * world))
                (nats + extra if world == 1 else (nats + extra) * world).backward()
            loss += nats.detach()
            penalty += extra.detach()
            if self.carry:
                states.append(new)
        return loss, penalty, _join(states) if self.carry else None

    def _sentence(self, step: int, values: list[float], where: str | None) -> str:
        names = [n for n, v in zip(("loss", "penalty", "gradient norm"), values) if not math.isfinite(v)]
        if where is None and names == ["gradient norm"]:
            largest = {n: float(p.grad.abs().max()) for n, p in self.model.named_parameters() if p.grad is not None}
            where = f"the gradient of '{max(largest, key=lambda n: largest[n])}', too large to square"
        where = where or "something that a second pass over the same batch did not show again"
        return (
            f"training diverged at step {step}: {names[0]} is not finite; the first to break was {where}; "
            "try a lower train.lr or train.clip"
        )


def _join(states: list[State]) -> State:
    """One state from those of the micro-batches, in memory laid out as a checkpoint would give it back.

    A state that is a view into a window's tensors would keep them alive, and its strides could make the next step
    round differently from the same step after a resume.
    """
    joined = {
        key: torch.cat([s[key].detach() for s in states]) if len(states) > 1 else states[0][key].detach()
        for key in states[0]
    }
    return State({key: t.clone(memory_format=torch.contiguous_format) for key, t in joined.items()})
