"""Checkpoints: everything a run needs to go on bit for bit, in a folder that is whole or absent.

What there is::

    checkpoints/step-00000500/  model.safetensors  optimizer.safetensors  state.safetensors  rng.safetensors
                                objective.safetensors  (of the objective)  raw.safetensors (weights behind averages)
                                checkpoint.json    (format version, sha256 of each file, progress, data position)
                                optimizer/  state/ (of sharded runs: what each process holds)
    checkpoints/best.json       which step validated best

Nothing is ever unpickled: tensors are safetensors (weights perhaps in 8 bits, `inn.runs.eight`), the rest is JSON. Only
torch's random numbers are kept: the library draws from no other global source; data streams carry their own position.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from inn.models.names import filed
from inn.runs.eight import widened
from inn.system.errors import InputError
from inn.system.files import RUN, new_folder, remove_folder, remove_leftovers, replace_file, write_synced, writing
from inn.system.parse import parse_json, read_json

FORMAT = "inn-checkpoint"
VERSION = 1
PARTS = ("model", "optimizer", "state", "rng", "objective", "raw")
OPTIONAL = ("objective", "raw")
"""Parts that have no file where they have no tensors."""
GOES_ON = "goes_on"
"""In the record of a run made of another: the steps after which the optimiser goes on, with its moments."""
_BEST = "best.json"


@dataclass
class Checkpoint:
    """A moment of a training run.

    Attributes:
        step: optimiser steps done.
        tensors: part (one of `PARTS`) -> name -> tensor.
        meta: JSON-able data: `aliases` of tied weights, `model` configuration, `streams`, `progress`, ...
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    meta: dict[str, Any] = field(default_factory=dict)


class DamagedCheckpoint(InputError):
    """A checkpoint that is incomplete, changed or not a checkpoint at all."""


MIGRATIONS: dict[int, Callable[[Checkpoint], Checkpoint]] = {}
"""From a format version to the next: `{1: one_to_two}` once there is a version 2."""


def name_of(step: int) -> str:
    """The folder name of a step's checkpoint.

    >>> name_of(500)
    'step-00000500'
    """
    return f"step-{step:08d}"


def save(
    folder: Path, checkpoint: Checkpoint, shards: Callable[[Path], dict[str, dict[str, Any]]] = lambda path: {}
) -> Path:
    """Write `checkpoint` into `folder` (a run's `checkpoints/`) and return its own folder, complete and on disk.

    `shards` writes further files below the path it is given, and returns what `describe` says of each by name.
    Raises `InputError` when it cannot be written (no space left); the other checkpoints are untouched.
    """
    path = folder / name_of(checkpoint.step)
    with new_folder(path, RUN) as temporary:
        files = shards(temporary)
        for part in PARTS:
            tensors = checkpoint.tensors.get(part, {})
            if part in OPTIONAL and not tensors:
                continue
            content = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
            write_synced(temporary / f"{part}.safetensors", content)
            files[f"{part}.safetensors"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        record = {"format": FORMAT, "version": VERSION, "step": checkpoint.step, "files": files, **checkpoint.meta}
        record["sha256"] = _digest(record)
        write_synced(temporary / "checkpoint.json", (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    return path


def load(path: str | Path, parts: Iterable[str] = PARTS, whole: bool = True) -> Checkpoint:
    """Read a checkpoint's folder, every file checked against its recorded sha256.

    Of what several processes wrote in shards the whole tensors are put together, unless `whole` is false: such files
    are then checked only.

    Raises `DamagedCheckpoint`, naming the file, when one is missing, truncated, changed or foreign, and `InputError`
    when a newer version of the library wrote it.
    """
    path = Path(path)
    record = _read_record(path / "checkpoint.json")
    tensors = {
        part: _read_tensors(path / f"{part}.safetensors", record["files"])
        if part not in OPTIONAL or f"{part}.safetensors" in record["files"]
        else {}
        for part in parts
    }
    for part, found in tensors.items():
        if shards := [name for name in record["files"] if name.startswith(f"{part}/")]:
            from inn.runs.sharded import read_whole  # here: torch.distributed takes its time

            for name in shards:
                _check_file(path / name, record["files"][name])
            found.update(read_whole(path / part) if whole else {})
    checkpoint = Checkpoint(record["step"], tensors, record)
    for version in range(record["version"], VERSION):
        checkpoint = MIGRATIONS[version](checkpoint)
    return checkpoint


def record(path: Path) -> dict[str, Any]:
    """What `checkpoint.json` says, checked; no tensor is read."""
    return _read_record(path / "checkpoint.json")


def _digest(record: Mapping[str, Any]) -> str:
    """The sha256 of a record, its own `sha256` field left out."""
    rest = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedCheckpoint(f"checkpoint file '{path}' cannot be read: {error.strerror or error}") from error


def _read_record(path: Path) -> dict[str, Any]:
    content = _read(path)
    try:
        record = parse_json(content, "it", object)
    except InputError as error:
        raise DamagedCheckpoint(f"checkpoint file '{path}' is damaged: it is not complete JSON") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DamagedCheckpoint(f"'{path}' is not a checkpoint of this library (its format is not '{FORMAT}')")
    if record.get("sha256") != _digest(record):
        raise DamagedCheckpoint(f"checkpoint file '{path}' is damaged: its content does not match its own sha256")
    if record["version"] > VERSION:
        raise InputError(
            f"'{path}' is of format version {record['version']} and this library reads up to {VERSION}; upgrade it"
        )
    return record


def _read_tensors(path: Path, files: Mapping[str, Any]) -> dict[str, Tensor]:
    content, expected = _read(path), files[path.name]
    if len(content) != expected["bytes"]:
        raise DamagedCheckpoint(
            f"checkpoint file '{path}' is damaged: {len(content)} bytes where {expected['bytes']} were written"
        )
    if hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise DamagedCheckpoint(f"checkpoint file '{path}' is damaged: its content does not match the recorded sha256")
    # Cloned into memory of torch's own: products round differently on memory that is aligned differently.
    tensors = {name: t.clone() for name, t in safetensors.torch.load(content).items()}
    return widened(tensors) if path.stem == "model" else tensors


def _check_file(path: Path, expected: Mapping[str, Any]) -> None:
    try:
        found = describe(path)
    except OSError as error:
        raise DamagedCheckpoint(f"checkpoint file '{path}' cannot be read: {error.strerror or error}") from error
    if found != expected:
        raise DamagedCheckpoint(f"checkpoint file '{path}' is damaged: its content does not match the recorded sha256")


def describe(path: Path) -> dict[str, Any]:
    """The size and sha256 of a file, as `checkpoint.json` records them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in `folder`, ascending."""
    names = [path.name for path in folder.glob("step-*")]
    return sorted(int(name[5:]) for name in names if re.fullmatch("step-[0-9]{8,18}", name))


def load_latest(folder: Path, whole: bool = True) -> tuple[Checkpoint | None, list[str]]:
    """Load the newest good checkpoint of `folder`; None when there is none at all.

    Damaged ones on the way are renamed to `damaged-step-...` and described in the notes returned. Raises
    `DamagedCheckpoint` when all are damaged (nothing is renamed then).
    """
    remove_leftovers(folder)
    damaged: list[tuple[Path, DamagedCheckpoint]] = []
    for step in reversed(steps(folder)):
        path = folder / name_of(step)
        try:
            found = load(path, whole=whole)
        except DamagedCheckpoint as error:
            damaged.append((path, error))
            continue
        notes = []
        for bad, error in damaged:
            aside = bad.with_name(f"damaged-{bad.name}")
            if aside.exists():
                remove_folder(aside)
            bad.rename(aside)
            notes.append(f"{error}; going on from step {step}")
        return found, notes
    if damaged:
        raise DamagedCheckpoint(f"{damaged[0][1]}; no good checkpoint is left, start another run")
    return None, []


def set_best(folder: Path, step: int | None, bits: float | None = None) -> None:
    """Record which step validated best; None when no validation has been made."""
    if step is None:
        (folder / _BEST).unlink(missing_ok=True)
    else:
        replace_file(folder / _BEST, json.dumps({"step": step, "validation_bits": bits}) + "\n", RUN)


def best_step(folder: Path) -> int | None:
    """The step that validated best; None when that is unknown.

    Raises `InputError` where the file that says it is damaged.
    """
    path = folder / _BEST
    if not path.exists():
        return None
    step = read_json(path).get("step")
    if type(step) is not int:
        raise InputError(f"'{path}' names no step, but {step!r}; remove it, and the newest checkpoint is taken")
    return step


def best(folder: Path) -> Path | None:
    """The folder of the checkpoint that validated best; None when that is unknown or gone."""
    with contextlib.suppress(InputError):
        step = best_step(folder)
        if step is not None and (folder / name_of(step)).is_dir():
            return folder / name_of(step)
    return None


def prune(folder: Path, keep: int) -> None:
    """Delete all checkpoints but the newest `keep` and the best."""
    kept = best(folder)
    for path in (folder / name_of(step) for step in steps(folder)[:-keep]):
        if path != kept:
            with writing(path, RUN):
                remove_folder(path)


def pack_model(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A model's tensors by name in files, each once, and the aliases of tied ones: other name -> name kept."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple, str] = {}
    for name, t in ((filed(name), t) for name, t in model.state_dict().items()):
        key = (t.data_ptr(), t.shape, t.stride(), t.dtype)
        if t.numel() and key in seen:
            aliases[name] = seen[key]
        else:
            seen[key] = name
            tensors[name] = t
    return tensors, aliases


def check_numbers(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Raise `InputError` for a tensor of a file that holds what is no number."""
    for name, t in tensors.items():
        if t.is_floating_point() and not t.isfinite().all():
            raise InputError(f"'{path}' is damaged: '{name}' holds numbers that are not finite; restore it from a copy")


def unpack_model(model: nn.Module, checkpoint: Checkpoint, path: Path | str = "") -> None:
    """Load a checkpoint's weights; raises `InputError` when they are another model's."""
    tensors = dict(checkpoint.tensors["model"])
    learned = {filed(name) for name, _ in model.named_parameters()}
    check_numbers({name: t for name, t in tensors.items() if name in learned}, path)
    for name, kept in checkpoint.meta.get("aliases", {}).items():
        tensors[name] = tensors[kept]
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise InputError(f"checkpoint '{path}' does not fit the model of the run's configuration: {problem}") from error


def pack_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments as a flat `{"parameter/moment": tensor}`."""
    names = _names(model, optimizer)
    state = optimizer.state_dict()["state"]
    return {f"{names[i]}/{key}": t for i, moments in state.items() for key, t in moments.items()}


def unpack_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `pack_optimizer` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    numbers = {name: i for i, name in enumerate(_names(model, optimizer))}
    for name, t in tensors.items():
        parameter, _, key = name.rpartition("/")
        state.setdefault(numbers[parameter], {})[key] = t
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Parameter names in files, in the optimiser's own order, which numbers its state."""
    names = {parameter: filed(name) for name, parameter in model.named_parameters()}
    return [names[p] for group in optimizer.param_groups for p in group["params"]]


def pack_rng() -> dict[str, Tensor]:
    """The state of torch's random number generators, of the CPU and of every accelerator in use."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states |= {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def unpack_rng(states: Mapping[str, Tensor]) -> None:
    """Restore what `pack_rng` gave, for the devices that are here."""
    for name, state in states.items():
        kind, _, index = name.partition(":")
        if kind == "cpu":
            torch.set_rng_state(state)
        elif kind == "cuda" and torch.cuda.is_available() and int(index) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(index))
        elif kind == "mps" and torch.backends.mps.is_available():
            torch.mps.set_rng_state(state)
