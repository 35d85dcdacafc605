"""The folder that `inn export` writes, as this library reads it: no `transformers` needed.

    config.json  model.safetensors  generation_config.json  modeling_inn.py  README.md     for transformers
    tokenizer.json  tokenizer_config.json
    vocabulary.json  experience.safetensors                                                for inn alone

The weights are under `inn.`, as the module that holds them is named there; a tied weight is in the file once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from inn.config.assemble import stored_model
from inn.data.vocabulary import Vocabulary
from inn.models.build import build_model
from inn.models.names import filed
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.runs.checkpoint import pack_model
from inn.system.errors import InputError

MODEL_TYPE = "inn"
PREFIX = "inn."
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
VOCABULARY, EXPERIENCE = "vocabulary.json", "experience.safetensors"


def is_exported(path: Path) -> bool:
    """Whether a folder is one that `inn export`, or `save_pretrained`, has written."""
    try:
        return json.loads((path / "config.json").read_text(encoding="utf-8"))["model_type"] == MODEL_TYPE
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load_exported(path: str | Path) -> SequenceModel:
    """The model of an exported folder, on the CPU, in evaluation mode, its vocabulary set and what it can recall.

    Raises `InputError` where a file is missing or damaged, or the weights are another model's.

    Example: ``load_exported("exported")``
    """
    path = Path(path)
    fields = _json(path / "config.json").get("inn")
    if not isinstance(fields, dict):
        raise InputError(f"'{path / 'config.json'}' does not say what model it is of; export the run again")
    model = build_model(stored_model(fields))
    tensors = {filed(name.removeprefix(PREFIX)): t for name, t in read_weights(path).items()}
    _, tied = pack_model(model)  # in the file once, under either name
    shapes = {filed(name): t.shape for name, t in model.state_dict().items()}
    lacking = [name for name in shapes if name not in tensors and tied.get(name) not in tensors]
    for name in [*lacking, *(n for n, t in tensors.items() if shapes.get(n) != t.shape)]:
        raise InputError(f"the weights in '{path}' are not those of its config.json: '{name}' differs")
    model.load_state_dict(tensors, strict=False)
    if (path / VOCABULARY).is_file():
        model.vocabulary = Vocabulary.load(path / VOCABULARY)
    model.experience = read_experience(path / EXPERIENCE)
    return model.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors, in one file or several."""
    names = [WEIGHTS]
    if (path / INDEX).is_file():
        names = sorted(set(_json(path / INDEX).get("weight_map", {}).values()))
    tensors: dict[str, Tensor] = {}
    for name in names:
        # Cloned into memory of torch's own: products round differently on memory that is aligned differently.
        tensors |= {key: t.clone() for key, t in _safetensors(path / name).items()}
    return tensors


def read_experience(path: Path) -> State | None:
    """What a model can recall of its training text; None where there is no such file."""
    return State.from_tensors(_safetensors(path)) if path.is_file() else None


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': it is missing or damaged ({error})") from error


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"cannot read '{path}': it is missing or damaged ({error})") from error
