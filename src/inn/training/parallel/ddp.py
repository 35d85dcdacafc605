"""Distributed data parallel: each process has a copy of the model, and gradients are averaged."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.runs.checkpoint import Checkpoint
from inn.training.parallel.group import Group
from inn.training.parallel.multi import MultiProcess


class DDP(MultiProcess):
    """A copy of the model in each process, by PyTorch's DistributedDataParallel."""

    locating = False

    def __init__(self, model: SequenceModel, group: Group, seed: int):
        super().__init__(model, group, seed)
        # Gradients live in the buckets that are sent, so nothing is copied; buffers are the same in all processes.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of newer PyTorch, about a name that older ones lack
            self.ddp = DistributedDataParallel(model, gradient_as_bucket_view=True, broadcast_buffers=False)
        self.forward = self.ddp

    @contextlib.contextmanager
    def sync_gradients(self, last: bool) -> Iterator[None]:
        with contextlib.nullcontext() if last and not self.locating else self.ddp.no_sync():
            yield

    def locate(self, find: Callable[[], str | None]) -> str | None:
        self.locating = True  # each process looks at its own rows, and may find something earlier than another does
        return next((found for found in self.group.gather(find()) if found), None)

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
        if carried is not None:
            # In one order in all processes: what a file gave back comes in any.
            rows = {key: self.group.gather_rows(carried[key]) for key in sorted(carried)}
            carried = State({key: t for key, t in rows.items() if t is not None})
        write = super().save
        return self.group.on_main(lambda: write(folder, step, optimizer, carried, objective, raw, meta))

    def restore(self, path: Path, found: Checkpoint, optimizer: Optimizer | None) -> State | None:
        carried = super().restore(path, found, optimizer)
        if carried is None:
            return None
        rows = self.group.rows(next(iter(carried.values())).shape[0])
        return carried.select_batch(range(rows.start, rows.stop))
