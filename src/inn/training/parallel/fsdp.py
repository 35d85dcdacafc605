"""Fully sharded data parallel: each process holds a part of the weights, gradients and moments."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard
from torch.optim import Optimizer

from inn.models.sequence import SequenceModel
from inn.nn.graph import Graph
from inn.nn.modes import device_of
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import Checkpoint
from inn.runs.sharded import read_forms, read_into
from inn.training.finite import not_finite
from inn.training.parallel import sharded_checkpoint
from inn.training.parallel.group import Group
from inn.training.parallel.multi import MultiProcess


class FSDP(MultiProcess):
    """Each process holds a part of all weights, gradients and moments, by PyTorch's `fully_shard` (FSDP2).

    A round is gathered when its turn comes and let go afterwards. Weights are cut along the first axis that is as
    large as the group or a multiple of it: a population has few neurons, and a cut along them would leave processes
    beyond their number with nothing but padding.
    """

    sharded = True

    def __init__(self, model: SequenceModel, group: Group, seed: int):
        super().__init__(model, group, seed)
        world = group.world
        self.mesh = init_device_mesh(next(model.parameters()).device.type, (world,))

        def place(p: nn.Parameter) -> Shard | None:
            axis = next((i for i, n in enumerate(p.shape) if n % world == 0), 0)
            return Shard(axis)

        # What a module returns is not changed in place by anything here; the warning is about that.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
        for graph in (m for m in model.modules() if isinstance(m, Graph)):
            for one in graph.rounds:
                fully_shard(one, mesh=self.mesh, shard_placement_fn=place)
        fully_shard(model, mesh=self.mesh, shard_placement_fn=place)
        register_fsdp_forward_method(model, "step_")  # samples are written by it
        self.forward = model

    @contextlib.contextmanager
    def sync_gradients(self, last: bool) -> Iterator[None]:
        assert isinstance(self.model, FSDPModule)
        self.model.set_requires_gradient_sync(last)
        yield

    def locate(self, find: Callable[[], str | None]) -> str | None:
        # A pass gathers weights, which takes all processes; what each holds by itself is looked at instead.
        gradients = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        return next((f"the gradient of '{name}'" for name in self.group.gather(not_finite(gradients)) if name), None)

    def find_not_finite(self, optimizer: Optimizer | None, carried: State | None) -> str | None:
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # a validation leaves weights gathered, under whose names no optimiser knows them
        return super().find_not_finite(optimizer, carried)

    def grad_norm(self, gradients: list[Tensor]) -> Tensor:
        total = super().grad_norm(gradients)
        return total.full_tensor() if isinstance(total, DTensor) else total

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
        assert optimizer is not None
        weights, aliases = sharded_checkpoint.whole_weights(self.model, keep=self.group.is_main)
        moments = checkpoints.pack_optimizer(self.model, optimizer)
        parts = {
            "model": weights,
            "rng": self.pack_rng(),
            "optimizer": {n: t for n, t in moments.items() if not t.ndim},
            "objective": dict(objective),
            "raw": dict(raw),
        }
        shared = {
            "optimizer": {n: t for n, t in moments.items() if t.ndim},
            "state": {} if carried is None else sharded_checkpoint.by_rows(carried, self.mesh),
        }
        checkpoint = Checkpoint(step, parts, {"aliases": aliases, **meta})
        return sharded_checkpoint.save(folder, checkpoint, shared, self.group)

    def restore(self, path: Path, found: Checkpoint, optimizer: Optimizer | None) -> State | None:
        assert optimizer is not None
        sharded_checkpoint.restore_weights(self.model, path)
        moments = sharded_checkpoint.empty_moments(self.model, optimizer)
        read_into(path, "optimizer", {n: t for n, t in moments.items() if t.ndim})
        scalars = {n: t for n, t in found.tensors["optimizer"].items() if not t.ndim}
        checkpoints.unpack_optimizer(self.model, optimizer, {**moments, **scalars})
        if not found.meta["carried"]:
            return None
        rows, device = self.group.rows(found.meta["carried"]), device_of(self.model)
        held = self.model.initial_state(rows.stop - rows.start).to_tensors()
        for name, form in read_forms(path, "state", found.tensors["state"]).items():  # what an objective carries, too
            if name not in held:
                held[name] = torch.zeros(rows.stop - rows.start, *form.shape[1:], dtype=form.dtype, device=device)
        carried = sharded_checkpoint.by_rows(State.from_tensors(held), self.mesh)
        read_into(path, "state", carried)
        return State.from_tensors({name: t.to_local() for name, t in carried.items()})
