"""How a model is trained: by one process, by several with a copy each (DDP), or by several that share it (FSDP)."""

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
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from inn.inference.evaluate import device_of
from inn.models.sequence import SequenceModel
from inn.nn.graph import Graph
from inn.nn.recall import Recall
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import Checkpoint, pack_rng, unpack_rng
from inn.runs.pieces import read_into
from inn.training.finite import not_finite, not_finite_state
from inn.training.parallel import shards
from inn.training.parallel.group import ALONE, Group


class Engine:
    """One process that has the whole model.

    Attributes:
        group: the processes that train together.
        model: the model itself, for everything but the passes of training.
        forward: what the passes of training call in place of the model.
        sharded: whether each process holds a part of the weights only.
    """

    sharded = False

    def __init__(self, model: SequenceModel, group: Group = ALONE):
        self.model, self.group = model, group
        self.forward: Callable[..., Any] = model

    def begin(self, step: int, batch: int) -> None:
        """Called before the passes of a step (from 1) over a batch of so many rows, all processes' together."""

    def syncing(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Around a forward and backward pass: gradients are sent in the last one of a step, and not before."""
        return contextlib.nullcontext()

    def norm(self, gradients: list[Tensor]) -> Tensor:
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

    def broken(self, optimizer: Optimizer | None, carried: State | None) -> str | None:
        """The name of a weight, a moment or a state that is not finite, in any process; None where all are."""
        moments = {} if optimizer is None else checkpoints.pack_optimizer(self.model, optimizer)
        name = not_finite({**self.model.state_dict(), **moments})
        found = f"'{name}'" if name else carried is not None and not_finite_state(carried)
        return next((bad for bad in self.group.each(found or None) if bad), None)

    def save(
        self, folder: Path, step: int, optimizer: Optimizer | None, carried: State | None, meta: dict[str, Any]
    ) -> Path:
        """Write a checkpoint of this moment into `folder`; `optimizer` is None for a model that only counts."""
        tensors, aliases = checkpoints.pack_model(self.model)
        parts = {
            "model": tensors,
            "optimizer": {} if optimizer is None else checkpoints.pack_optimizer(self.model, optimizer),
            "state": {} if carried is None else carried.to_tensors(),
            "rng": self.pack_rng(),
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


class Copies(Engine):
    """A copy of the model in each process, by PyTorch's DistributedDataParallel: gradients are averaged.

    What is drawn for rows of a batch (which of them forget what they recall) is drawn in every process alike for all
    rows, from the random numbers that one process alone would use; so the number of processes changes nothing. What is
    drawn for single numbers (dropout) differs from process to process, and follows from the seed and the step.
    """

    looking = False

    def __init__(self, model: SequenceModel, group: Group, seed: int):
        super().__init__(model, group)
        self.seed = seed
        device = next(model.parameters()).device
        self.draws = torch.Generator(device)
        self.draws.set_state(torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state())
        self.forgetful = [m for m in model.modules() if isinstance(m, Recall) and m.forget]
        self.wrap()

    def wrap(self) -> None:
        # Gradients live in the buckets that are sent, so nothing is copied; buffers are the same in all processes.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of newer PyTorch, about a name that older ones lack
            self.ddp = DistributedDataParallel(self.model, gradient_as_bucket_view=True, broadcast_buffers=False)
        self.forward = self.ddp

    def begin(self, step: int, batch: int) -> None:
        rows = self.group.rows(batch)
        for recall in self.forgetful:
            drawn = torch.rand(batch, generator=self.draws, device=self.draws.device)
            recall.drawn = drawn[rows]
        torch.manual_seed((self.seed * 1_000_003 + step) * 65_537 + self.group.rank)

    @contextlib.contextmanager
    def syncing(self, last: bool) -> Iterator[None]:
        with contextlib.nullcontext() if last and not self.looking else self.ddp.no_sync():
            yield

    def locate(self, find: Callable[[], str | None]) -> str | None:
        self.looking = True  # each process looks at its own rows, and may find something earlier than another does
        return next((found for found in self.group.each(find()) if found), None)

    def pack_rng(self) -> dict[str, Tensor]:
        device = self.draws.device
        name = "cpu" if device.type == "cpu" else f"{device.type}:0"
        return {**({"cpu": torch.get_rng_state()} if name != "cpu" else {}), name: self.draws.get_state()}

    def unpack_rng(self, states: Mapping[str, Tensor]) -> None:
        found = states.get("cpu" if self.draws.device.type == "cpu" else "cuda:0")
        if found is not None:
            self.draws.set_state(found)

    def save(
        self, folder: Path, step: int, optimizer: Optimizer | None, carried: State | None, meta: dict[str, Any]
    ) -> Path:
        if carried is not None:
            # In one order in all processes: what a file gave back comes in any.
            rows = {key: self.group.gather_rows(carried[key]) for key in sorted(carried)}
            carried = State({key: t for key, t in rows.items() if t is not None})
        return self.group.first(lambda: Engine.save(self, folder, step, optimizer, carried, meta))

    def load_latest(self, folder: Path) -> tuple[Checkpoint | None, list[str]]:
        mine: list[Checkpoint | None] = [None]

        def choose() -> tuple[int | None, list[str]]:
            mine[0], notes = checkpoints.load_latest(folder, whole=not self.sharded)
            return None if mine[0] is None else mine[0].step, notes

        step, notes = self.group.first(choose)
        if step is not None and mine[0] is None:
            mine[0] = checkpoints.load(folder / checkpoints.name_of(step), whole=not self.sharded)
        return mine[0], notes

    def restore(self, path: Path, found: Checkpoint, optimizer: Optimizer | None) -> State | None:
        carried = super().restore(path, found, optimizer)
        if carried is None:
            return None
        rows = self.group.rows(next(iter(carried.values())).shape[0])
        return carried.select_batch(range(rows.start, rows.stop))


class Shards(Copies):
    """Each process holds a part of all weights, gradients and moments, by PyTorch's `fully_shard` (FSDP2).

    A round is gathered when its turn comes and let go afterwards. Weights are cut along the first axis that is as
    large as the group or a multiple of it: a population has few neurons, and a cut along them would leave processes
    beyond their number with nothing but padding.
    """

    sharded = True

    def wrap(self) -> None:
        model, world = self.model, self.group.world
        self.mesh = init_device_mesh(next(model.parameters()).device.type, (world,))
        marked = {name for name, p in model.named_parameters() if getattr(p, "_no_decay", False)}

        def place(p: nn.Parameter) -> Shard | None:
            axis = next((i for i, n in enumerate(p.shape) if n % world == 0), 0)
            return Shard(axis)

        # What a module returns is not changed in place by anything here; the warning is about that.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
        for graph in (m for m in model.modules() if isinstance(m, Graph)):
            for one in graph.rounds:
                fully_shard(one, mesh=self.mesh, shard_placement_fn=place)
        fully_shard(model, mesh=self.mesh, shard_placement_fn=place)
        for name, p in model.named_parameters():
            if name in marked:  # the parameters are new objects
                p._no_decay = True  # type: ignore[attr-defined]
        register_fsdp_forward_method(model, "step_")  # samples are written by it
        self.forward = model

    @contextlib.contextmanager
    def syncing(self, last: bool) -> Iterator[None]:
        assert isinstance(self.model, FSDPModule)
        self.model.set_requires_gradient_sync(last)
        yield

    def locate(self, find: Callable[[], str | None]) -> str | None:
        # A pass gathers weights, which takes all processes; what each holds by itself is looked at instead.
        gradients = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        return next((f"the gradient of '{name}'" for name in self.group.each(not_finite(gradients)) if name), None)

    def broken(self, optimizer: Optimizer | None, carried: State | None) -> str | None:
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # a validation leaves weights gathered, under whose names no optimiser knows them
        return super().broken(optimizer, carried)

    def norm(self, gradients: list[Tensor]) -> Tensor:
        total = super().norm(gradients)
        return total.full_tensor() if isinstance(total, DTensor) else total

    def save(
        self, folder: Path, step: int, optimizer: Optimizer | None, carried: State | None, meta: dict[str, Any]
    ) -> Path:
        assert optimizer is not None
        weights, aliases = shards.whole_weights(self.model, keep=self.group.lead)
        moments = checkpoints.pack_optimizer(self.model, optimizer)
        parts = {
            "model": weights,
            "rng": self.pack_rng(),
            "optimizer": {n: t for n, t in moments.items() if not t.ndim},
        }
        shared = {
            "optimizer": {n: t for n, t in moments.items() if t.ndim},
            "state": {} if carried is None else shards.by_rows(carried, self.mesh),
        }
        checkpoint = Checkpoint(step, parts, {"aliases": aliases, **meta})
        return shards.save(folder, checkpoint, shared, self.group)

    def restore(self, path: Path, found: Checkpoint, optimizer: Optimizer | None) -> State | None:
        assert optimizer is not None
        shards.restore_weights(self.model, path)
        moments = shards.empty_moments(self.model, optimizer)
        read_into(path, "optimizer", {n: t for n, t in moments.items() if t.ndim})
        scalars = {n: t for n, t in found.tensors["optimizer"].items() if not t.ndim}
        checkpoints.unpack_optimizer(self.model, optimizer, {**moments, **scalars})
        if not found.meta["carried"]:
            return None
        rows = self.group.rows(found.meta["carried"])
        carried = shards.by_rows(self.model.initial_state(rows.stop - rows.start), self.mesh)
        read_into(path, "state", carried)
        return State.from_tensors({name: t.to_local() for name, t in carried.items()})


def build_engine(model: SequenceModel, group: Group, parallel: str, seed: int) -> Engine:
    """How a group trains a model: `parallel` is `ddp` or `fsdp`; a process alone needs neither."""
    if group.world == 1:
        return Engine(model, group)
    return (Shards if parallel == "fsdp" else Copies)(model, group, seed)
