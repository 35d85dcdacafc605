"""One optimiser step: micro-batches, loss, gradients, clipping, and what to do when a number is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inn.config.run import TrainConfig
from inn.data.examples import IGNORED
from inn.nn.state import State
from inn.registry import OBJECTIVES
from inn.training.average import Average
from inn.training.finite import TrainingDiverged, first_not_finite
from inn.training.objectives.base import Context, MicroBatch, Objective, StepResult
from inn.training.parallel.group import Group
from inn.training.parallel.single import SingleDevice

_NORM = "gradient norm"


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
        config: the objective, clipping, accumulation and precision are read from it.
        carry: carry the state from batch to batch (contiguous streams), or start each batch afresh.
        steps: of the whole run, for the objective.

    Attributes:
        objective: what is minimised.
        average: of the weights after each step; None where `train.ema` is 0.
    """

    def __init__(
        self,
        strategy: SingleDevice,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        carry: bool,
        steps: int = 0,
    ):
        self.strategy = strategy
        self.model = strategy.model
        self.optimizer = optimizer
        self.config = config
        self.carry = carry
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.average = Average(self.model, config.ema) if config.ema else None
        context = Context(self.model, self._forward, optimizer, strategy.group, steps, self.average)
        self.objective: Objective = OBJECTIVES[config.objective.kind](config.objective, context, config)

    def _forward(self, tokens: Tensor, state: State | None = None, *, reset: Tensor | None = None, **more: Any):
        """The model's pass as it is trained, through DDP or FSDP and under the types that the settings name."""
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            return self.strategy.forward(tokens, state, reset=reset, **more)

    def __call__(
        self,
        inputs: Tensor,
        targets: Tensor,
        reset: Tensor | None,
        state: State | None,
        lr: float,
        step: int,
        count: float | None = None,
        weights: Tensor | None = None,
        found: Mapping[str, Tensor] | None = None,
    ) -> StepResult:
        """Take one step.

        Args:
            inputs, targets: `[B, T]` int64, this process's rows; targets of -100 are left out of the loss.
            reset: `[B]` bool, rows whose text starts anew; None when no row's does.
            state: carried from the batch before; None starts afresh.
            step: the number of this step, from 1.
            count: targets of all processes together; None where this one is alone, and counts them.
            weights: `[B]` what each row counts; None where all count the same.
            found: what is recalled at each step, `[B, T, ...]` by name, where it is known beforehand.

        Raises `TrainingDiverged` when loss or gradient is NaN or infinite; weights, optimiser and state are then
        those of the step before.
        """
        strategy = self.strategy
        self.objective.before_step(step)
        random = strategy.pack_rng()

        def passes() -> tuple[_Sums, State | None]:
            strategy.begin_step(step, inputs.shape[0] * strategy.group.world)
            return self._passes(inputs, targets, reset, state, count, weights, found)

        sums, carried = passes()
        norm = strategy.grad_norm([p.grad for p in self.parameters if p.grad is not None])
        values = sums.read(norm, strategy.group)
        if not all(math.isfinite(v) for v in values.values()):
            strategy.unpack_rng(random)
            where = strategy.locate(lambda: first_not_finite(self.model, state, passes))
            raise TrainingDiverged(self._sentence(step, values, where))
        if self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        penalties, metrics = (_named(values, prefix) for prefix in ("penalty.", "objective."))
        result = StepResult(values["loss"], values["penalty"], values[_NORM], carried, penalties, metrics)
        self.objective.after_step(step, result)
        if self.average is not None:
            self.average.update()
        return result

    def _passes(
        self,
        inputs: Tensor,
        targets: Tensor,
        reset: Tensor | None,
        state: State | None,
        count: float | None,
        weights: Tensor | None,
        found: Mapping[str, Tensor] | None,
    ) -> tuple[_Sums, State | None]:
        """Forward and backward over all micro-batches; means by name, and the state after them.

        Of several processes each has its part of the means; their gradients are averaged over the processes, so a
        part counts as many times as there are of them.
        """
        self.optimizer.zero_grad(set_to_none=True)
        batch, device, world = inputs.shape[0], inputs.device, self.strategy.group.world
        symbols = self.model.counted(targets) if count is None else count
        sums, states = _Sums(), []
        for rows in torch.arange(batch).tensor_split(self.config.accumulate):
            whole = len(rows) == batch
            part = state if whole or state is None else state.select_batch(rows)
            chosen = slice(int(rows[0]), int(rows[-1]) + 1)
            starts = None
            if reset is not None and self.carry:  # where nothing is carried, every row starts afresh as it is
                starts = torch.zeros(inputs[chosen].shape[:2], dtype=torch.bool, device=device)
                starts[:, 0] = reset[chosen]
            with self.strategy.sync_gradients(last=int(rows[-1]) == batch - 1):
                own = None if weights is None else weights[chosen]
                known = None if found is None else {name: t[chosen] for name, t in found.items()}
                made = self.objective.loss(MicroBatch(inputs[chosen], targets[chosen], part, starts, own, known))
                nats, share = made.nats / symbols, len(rows) / (batch * world)
                terms = [*made.state.penalties.items(), *made.penalties.items()]
                penalty = sum((p.float() for _, p in terms), torch.zeros((), device=device)) * share
                (nats + penalty if world == 1 else (nats + penalty) * world).backward()
            sums.add("loss", nats)
            sums.add("penalty", penalty)
            for name, value in terms:
                sums.add(f"penalty.{name}", value.float() * share)
            for name, value in made.metrics.items():
                sums.add(f"objective.{name}", value.float() / symbols)
            if self.carry:
                states.append(made.state)
        return sums, _join(states) if self.carry else None

    def _sentence(self, step: int, values: dict[str, float], where: str | None) -> str:
        names = [name for name, v in values.items() if not math.isfinite(v)]
        if where is None and names == [_NORM]:
            largest = {n: float(p.grad.abs().max()) for n, p in self.model.named_parameters() if p.grad is not None}
            where = f"the gradient of '{max(largest, key=lambda n: largest[n])}', too large to square"
        if where is None and names[0].startswith("objective."):
            where = f"what objective '{self.config.objective.kind}' measures"
        where = where or "something that a second pass over the same batch did not show again"
        return (
            f"training diverged at step {step}: {names[0]} is not finite; the first to break was {where}; "
            "try a lower train.lr or train.clip"
        )


class _Sums(dict[str, Tensor]):
    """What the passes of a step came to in this process: its part of the means over all targets, by name."""

    def add(self, name: str, value: Tensor) -> None:
        self[name] = self[name] + value.detach() if name in self else value.detach()

    def read(self, norm: Tensor, group: Group) -> dict[str, float]:
        """The means of all processes together, and the norm of the gradients."""
        names = ["loss", "penalty", *sorted(self.keys() - {"loss", "penalty"})]
        values = torch.stack([*(self[n] for n in names), norm.to(self["loss"].device)]).tolist()  # the one wait
        return dict(zip((*names, _NORM), (*group.sum(*values[:-1]), values[-1]), strict=True))


def _named(values: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


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
