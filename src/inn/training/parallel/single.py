"""One process that has the whole model: the strategy of a run on one device, and the base of all others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from inn.models.sequence import SequenceModel
from inn.nn.modes import device_of
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import Checkpoint, pack_rng, unpack_rng
from inn.training.finite import not_finite, not_finite_state
from inn.training.parallel.group import SINGLE_PROCESS, Group


class SingleDevice:
    """How one process trains a model; `DDP` and `FSDP` are how several do, and differ in the methods below.

    Attributes:
        group: the processes that train together.
        model: the model itself, for everything but the passes of training.
        forward: what the passes of training call in place of the model.
        sharded: whether each process holds a part of the weights only.
    """

    sharded = False

    def __init__(self, model: SequenceModel, group: Group = SINGLE_PROCESS):
        self.model, self.group = model, group
        self.forward: Callable[..., Any] = model

    def begin_step(self, step: int, batch: int) -> None:
        """Called before the passes of a step (from 1) over a batch of so many rows, all processes' together."""

    def sync_gradients(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Around a forward and backward pass: gradients are sent in the last one of a step, and not before."""
        return contextlib.nullcontext()

    def grad_norm(self, gradients: list[Tensor]) -> Tensor:
        """The norm of the gradients that all processes have together."""
        return torch.nn.utils.get_total_norm(gradients)

    def locate(self, find: Callable[[], str | None]) -> str | None:
        """What `find` finds, in the first process where it finds something; it may run passes again."""
        return find()

    def pack_rng(self) -> dict[str, Tensor]:
        """The state of the random numbers that a run needs to go on, in any number of processes."""
        return pack_rng()

    def unpack_rng(self, states: Mapping[str, Tensor]) -> None:
        """Restore what `pack_rng` gave."""
        unpack_rng(states)

    def find_not_finite(self, optimizer: Optimizer | None, carried: State | None) -> str | None:
        """The name of a weight, a moment or a state that is not finite, in any process; None where all are."""
        moments = {} if optimizer is None else checkpoints.pack_optimizer(self.model, optimizer)
        name = not_finite({**self.model.state_dict(), **moments})
        found = f"'{name}'" if name else carried is not None and not_finite_state(carried)
        return next((bad for bad in self.group.gather(found or None) if bad), None)

    def save(
        self,
        folder: Path,
        step: int,
        optimizer: Optimizer | None,
        carried: State | None,
        objective: Mapping[str, Tensor],
        raw: Mapping[str, Tensor],
        meta: dict[str, Any],
    ) -> Path:
        """Write a checkpoint of this moment into `folder`.

        Args:
            optimizer: None for a model that only counts.
            carried: the state of this process's rows.
            objective: tensors of the objective, the same in all processes.
            raw: the weights under training, where the model has their averages for now.
            meta: what else `checkpoint.json` is to hold.
        """
        tensors, aliases = checkpoints.pack_model(self.model)
        parts = {
            "model": tensors,
            "optimizer": {} if optimizer is None else checkpoints.pack_optimizer(self.model, optimizer),
            "state": {} if carried is None else carried.to_tensors(),
            "rng": self.pack_rng(),
            "objective": dict(objective),
            "raw": dict(raw),
        }
        return checkpoints.save(folder, Checkpoint(step, parts, {"aliases": aliases, **meta}))

    def load_latest(self, folder: Path) -> tuple[Checkpoint | None, list[str]]:
        """The newest good checkpoint; see `inn.runs.checkpoint.load_latest`."""
        return checkpoints.load_latest(folder)

    def restore(self, path: Path, found: Checkpoint, optimizer: Optimizer | None) -> State | None:
        """Put weights and moments back to what was found at `path`; returns the carried state of its rows."""
        checkpoints.unpack_model(self.model, found, path)
        if optimizer is not None:
            checkpoints.unpack_optimizer(self.model, optimizer, found.tensors["optimizer"])
        carried = found.tensors["state"]
        return State.from_tensors(carried).to(device_of(self.model)) if carried else None
