"""The processes of one training run: started by `torchrun`, or this one alone."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from inn.system.device import resolve_device
from inn.system.errors import InputError

T = TypeVar("T")


class MainProcessError(InputError):
    """A mistake that the main process of the group has found, and reports."""


@dataclass(frozen=True)
class Group:
    """The processes that train one model together; a process by itself is a group of one, to which nothing here costs.

    Attributes:
        rank: which one this is, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """This process's rows of a batch; raises `InputError` where it cannot be shared out evenly.

        >>> Group(1, 4).rows(8)
        slice(2, 4, None)
        """
        each, rest = divmod(batch, self.world)
        if rest:
            raise InputError(
                f"a batch of {batch} rows cannot be shared out evenly among {self.world} processes; "
                f"set data.batch to a multiple of {self.world}, or start another number of them"
            )
        return slice(self.rank * each, (self.rank + 1) * each)

    def sum(self, *values: float) -> tuple[float, ...]:
        """The sums of these numbers over all processes, the same in each."""
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=_device())
        dist.all_reduce(total)
        return tuple(total.tolist())

    def any(self, wish: bool) -> bool:
        """Whether any process wishes it, the same in each."""
        return wish if self.world == 1 else self.sum(float(wish))[0] > 0

    def on_main(self, work: Callable[[], T]) -> T:
        """Let the main process do something, and give its result to all; an `InputError` that it raises, all raise."""
        if self.world == 1:
            return work()
        told: list[Any] = [None, None]
        error: InputError | None = None
        if self.is_main:
            try:
                told[0] = work()
            except InputError as raised:
                error, told[1] = raised, str(raised)
        dist.broadcast_object_list(told, src=0, device=_device())
        if error is not None:
            raise error
        if told[1] is not None:
            raise MainProcessError(told[1])
        return told[0]

    def gather(self, value: T) -> list[T]:
        """What each process gives, in the order of their ranks."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found

    def gather_rows(self, rows: Tensor) -> Tensor | None:
        """All rows `[B / world, ...]` as one tensor `[B, ...]`, in the main process, on the CPU; None elsewhere.

        The tensors are sent one after the other, so that no more than one of them is there twice.
        """
        if self.world == 1:
            return rows
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(self.world)] if self.is_main else None
        dist.gather(rows, parts, dst=0)
        return None if parts is None else torch.cat([part.cpu() for part in parts])

    def barrier(self) -> None:
        """Go on when all processes are here."""
        self.sum(0.0)  # a number is sent: for an empty tensor gloo does not wait at all


SINGLE_PROCESS = Group()
"""A process by itself."""


def _device() -> torch.device:
    """Where tensors have to be that the group's backend sends."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


def is_distributed() -> bool:
    """Whether `torchrun` has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def is_main_process() -> bool:
    """Whether this process is the main one of its group, which prints; told by the environment alone."""
    return os.environ.get("RANK", "0") == "0"


def launcher_id() -> str | None:
    """A name for the `torchrun` that started this process, the same after a restart; None without one."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return f"process-{os.getppid()}" if name == "none" else name  # `none` is what torchrun calls all that have no name


def was_restarted() -> bool:
    """Whether `torchrun` has started this process anew, because one of the group had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def local_device(name: str) -> torch.device:
    """The device called `name` (see `resolve_device`) for this process: on CUDA, each has one of its own.

    Raises `InputError` for a device that several processes would have to share.
    """
    if not is_distributed():
        return resolve_device(name)
    here = int(os.environ.get("LOCAL_RANK", "0"))
    if name.startswith("cuda:"):
        raise InputError(f"device '{name}' is one device, and every process needs its own; use --device cuda")
    found = resolve_device(name)
    if found.type == "mps":
        raise InputError("several processes cannot share the device 'mps'; use --device cpu")
    return resolve_device(f"cuda:{here}") if found.type == "cuda" else found


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[Group]:
    """The group this process belongs to, while the block runs; joining it waits for all others.

    NCCL on CUDA, gloo elsewhere. Where the process group is there already it is used as it is, and left as it is.
    """
    if dist.is_available() and dist.is_initialized():
        yield Group(dist.get_rank(), dist.get_world_size())
        return
    if not is_distributed():
        yield Group()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, world = next(rendezvous("env://"))
    # torchrun may keep one store through all restarts, and what the dead have left in it would be believed.
    store = dist.PrefixStore(f"inn/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        dist.barrier()  # init_process_group waits for nobody: one that failed now would leave others waiting to connect
        yield Group(dist.get_rank(), dist.get_world_size())
        dist.barrier()  # nobody leaves while another still waits for what it sends
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dist.destroy_process_group()
