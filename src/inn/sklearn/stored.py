"""Models, moments and states as plain data and bytes, so that a pickle of them holds no code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from inn.config.assemble import stored_model
from inn.config.parts import plain
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.runs.checkpoint import pack_model


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
