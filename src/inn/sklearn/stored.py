"""Models, moments and states as plain data and bytes, so that a pickle of them holds no code; and exported folders."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from inn.config.assemble import stored_model
from inn.config.parts import plain
from inn.data.base import Vocabulary
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.runs.checkpoint import pack_model
from inn.runs.exported import MODEL_TYPE, PREFIX, VOCABULARY, WEIGHTS, write_checksums
from inn.system.errors import InputError
from inn.system.files import new_folder


def model_bytes(model: SequenceModel) -> dict[str, Any]:
    """A model as its settings and safetensors.

    >>> from inn import INN
    >>> sorted(model_bytes(INN(vocab=2, neurons=1, width=4, rounds=1)))
    ['settings', 'weights']
    """
    return {"settings": plain(model.config), "weights": tensor_bytes(pack_model(model)[0])}


def model_of(stored: Mapping[str, Any]) -> SequenceModel:
    """The model that `model_bytes` gave, on the CPU, in evaluation mode."""
    model = build_model(stored_model(stored["settings"]))
    model.load_state_dict(tensors_of(stored["weights"]), strict=False)  # a tied weight is there once
    return model.eval()


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors by name as safetensors."""
    return save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})


def tensors_of(stored: bytes) -> dict[str, Tensor]:
    """What `tensor_bytes` gave, in memory of PyTorch's own: products round differently on other alignments."""
    return {name: t.clone() for name, t in load(stored).items()}


def state_bytes(state: State | None) -> bytes | None:
    """A state as safetensors."""
    return None if state is None else tensor_bytes(state.to_tensors())


def state_of(stored: bytes | None, device: torch.device) -> State | None:
    """What `state_bytes` gave."""
    return None if stored is None else State.from_tensors(tensors_of(stored)).to(device)


def write_exported(model: SequenceModel, vocabulary: Vocabulary, folder: str | os.PathLike[str]) -> Path:
    """Write a model as a folder that `inn.load` opens, wholly or not at all; returns the folder.

    Raises `InputError` where there is something already.
    """
    place, settings = Path(folder), plain(model.config)
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise InputError(f"'{place}' exists already and is not empty; give a new folder")
    with new_folder(place) as temporary:
        config = json.dumps({"model_type": MODEL_TYPE, "inn": settings}, indent=1)
        (temporary / "config.json").write_text(f"{config}\n", encoding="utf-8")
        tensors = {f"{PREFIX}{name}": t for name, t in pack_model(model)[0].items()}
        (temporary / WEIGHTS).write_bytes(tensor_bytes(tensors))
        (temporary / VOCABULARY).write_text(f"{vocabulary.to_json()}\n", encoding="utf-8")
        write_checksums(temporary, settings)
    return place
