"""Checkpoints that several processes write and read together, by PyTorch's DCP, each only what it holds.

    checkpoints/step-00000500/  model.safetensors      all weights: what `inn eval` and `inn generate` read
                                optimizer/shard-*.safetensors  state/shard-*.safetensors

DCP cuts the tensors anew for another number of processes. Its files are safetensors, so nothing is unpickled here
either, and a plain checkpoint reads the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from inn.models.names import filed
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import Checkpoint
from inn.runs.sharded import quietly, read_into
from inn.training.parallel.group import Group


def save(folder: Path, checkpoint: Checkpoint, shared: dict[str, dict[str, Tensor]], group: Group) -> Path:
    """Write a checkpoint of which the main process has the parts in `checkpoint`, and all processes those in `shared`.

    Raises `InputError`, in all processes, where it cannot be written; nothing is then left of it.
    """

    def write(temporary: Path) -> dict[str, dict[str, Any]]:
        group.barrier()  # the folder is there
        files: dict[str, dict[str, Any]] = {}
        for part, tensors in shared.items():
            if tensors:
                here = temporary / part
                with quietly():
                    dcp.save(tensors, storage_writer=HuggingFaceStorageWriter(str(here), save_distributed=True))
                mine = sorted(here.glob("*.safetensors"))[group.rank :: group.world]
                for found in group.gather({f"{part}/{file.name}": checkpoints.describe(file) for file in mine}):
                    files |= found
        return files

    path = folder / checkpoints.name_of(checkpoint.step)
    if group.is_main:
        checkpoints.save(folder, checkpoint, write)
    else:
        write(path.with_name(f".{path.name}.tmp"))
    group.barrier()
    return path


def whole_weights(model: nn.Module, keep: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All weights as `checkpoint.pack_model` gives them, on the CPU; one weight at a time is gathered, for all."""
    tensors, aliases, seen = {}, {}, {}
    values = dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])
    for name in model.state_dict():
        t, name = values[name], filed(name)
        if id(t) in seen:
            aliases[name] = seen[id(t)]
            continue
        seen[id(t)] = name
        full = t.full_tensor() if isinstance(t, DTensor) else t
        if keep:
            tensors[name] = full.detach().cpu()
    return tensors, aliases


def by_rows(state: State, mesh: DeviceMesh) -> dict[str, DTensor]:
    """A state of this process's rows as tensors that all processes share, cut along the rows."""
    return {n: DTensor.from_local(t, mesh, [Shard(0)], run_check=False) for n, t in state.to_tensors().items()}


def empty_moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Room for AdamW's two moments of every weight, named as `checkpoint.pack_optimizer` names them."""
    known = {p for group in optimizer.param_groups for p in group["params"]}
    moments = ((f"{filed(n)}/{moment}", p) for n, p in model.named_parameters() if p in known for moment in _MOMENTS)
    return {name: torch.zeros_like(p, requires_grad=False) for name, p in moments}


_MOMENTS = ("exp_avg", "exp_avg_sq")


def restore_weights(model: nn.Module, path: Path) -> None:
    """Read into a model this process's share of a checkpoint's weights."""
    weights = dict(model.named_parameters())
    buffers = {name: t for name, t in model.named_buffers() if name in model.state_dict()}
    tensors = {**{n: p.detach() for n, p in weights.items()}, **buffers}
    read_into(path, "model", {filed(n): t for n, t in tensors.items()})
