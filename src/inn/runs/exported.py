"""The folder that `inn export` writes, as this library reads it: no `transformers` needed.

    config.json  model.safetensors  generation_config.json  modeling_inn.py  README.md     for transformers
    tokenizer.json  tokenizer_config.json
    vocabulary.json  experience.safetensors  checksums.json                                for inn alone

The weights are under `inn.`, as the module that holds them is named there; a tied weight is in the file once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from inn.config.assemble import stored_model
from inn.config.parts import plain
from inn.data.names import sizes_of
from inn.data.vocabulary import Vocabulary
from inn.models.build import build_model, parameters_of
from inn.models.names import filed
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.runs.checkpoint import check_numbers, describe, pack_model
from inn.runs.sparse import packed, unpacked
from inn.runs.trained import located
from inn.system.errors import InputError
from inn.system.files import check_regular, replace_file
from inn.system.parse import read_json

MODEL_TYPE = "inn"
PREFIX = "inn."
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
VOCABULARY, EXPERIENCE = "vocabulary.json", "experience.safetensors"
PRIVATE = "holds what the run read last: do not publish it if that was private"
"""What is said of a file with an experience in it."""
CHECKSUMS = "checksums.json"
"""The sha256 of the weights, of what stands beside them, and of the model's settings: all that belongs together."""


def is_exported(path: Path) -> bool:
    """Whether a folder is one that `inn export`, or `save_pretrained`, has written."""
    try:
        return read_json(path / "config.json").get("model_type") == MODEL_TYPE
    except InputError:
        return False


def home_of(run: str | Path) -> Path:
    """The folder that a model's sidecars are in: the run of a checkpoint, a run or an exported folder itself."""
    path = Path(located(run))
    return path.parent.parent if path.parent.name == "checkpoints" and not is_exported(path) else path


def load_exported(path: str | Path) -> SequenceModel:
    """The model of an exported folder, on the CPU, in evaluation mode, its vocabulary set and what it can recall.

    Raises `InputError` where a file is missing or damaged, or the weights are another model's.

    Example: ``load_exported("exported")``
    """
    path = Path(path)
    tree = read_json(path / "config.json")
    if "INNForSequenceClassification" in (tree.get("architectures") or ()):
        raise InputError(f"'{path}' holds a classifier; open it by AutoModelForSequenceClassification of transformers")
    fields = tree.get("inn")
    if not isinstance(fields, dict):
        raise InputError(f"'{path / 'config.json'}' does not say what model it is of; export the run again")
    try:
        config = stored_model(fields)
    except InputError as error:
        raise InputError(f"'{path / 'config.json'}' cannot be used: {error}") from None
    stored = {filed(name.removeprefix(PREFIX)): t for name, t in headers(weight_files(path)).items()}
    if parameters_of(config) > 10**7 + 4 * sum(t.numel() for t in stored.values()):  # before it is made
        raise InputError(f"the weights in '{path}' are not those of its config.json, whose model is larger")
    model = build_model(config)
    _, tied = pack_model(model)  # in the file once, under either name
    own = {filed(name): t for name, t in model.state_dict().items()}
    lacking = [name for name in own if name not in stored and tied.get(name) not in stored]
    for name in [*lacking, *(n for n, t in stored.items() if n not in own or not _alike(own[n], t))]:
        raise InputError(f"the weights in '{path}' are not those of its config.json: '{name}' differs")
    check_checksums(path)
    tensors = {filed(name.removeprefix(PREFIX)): t for name, t in read_weights(path).items()}
    check_numbers(tensors, path)
    model.load_state_dict(tensors, strict=False)
    if (path / VOCABULARY).is_file():
        model.vocabulary = fitting_vocabulary(model, path / VOCABULARY)
    model.experience = read_experience(path / EXPERIENCE, model)
    return model.eval()


def save_exported(model: SequenceModel, folder: Path) -> None:
    """Write what `load_exported` reads of a model that `transformers` cannot be given, into a folder that is there."""
    fields = plain(model.config)
    replace_file(folder / "config.json", json.dumps({"model_type": MODEL_TYPE, "inn": fields}, indent=1) + "\n")
    tensors = {PREFIX + name: t.contiguous() for name, t in pack_model(model)[0].items()}
    replace_file(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    if model.vocabulary is not None:
        replace_file(folder / VOCABULARY, f"{model.vocabulary.to_json()}\n")
    write_checksums(folder, fields)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a folder, one or those that its index names: regular files inside the folder."""
    names: Iterable[Any] = [WEIGHTS]
    if (folder / INDEX).exists():
        places = read_json(folder / INDEX).get("weight_map")
        names = places.values() if isinstance(places, dict) else []
        if not names or not all(isinstance(n, str) and Path(n).name == n and n.endswith(".safetensors") for n in names):
            raise InputError(f"'{folder / INDEX}' does not map tensors to files beside it; save the model again")
    files = [folder / name for name in sorted(set(names))]
    for file in files:
        check_regular(file)
    return files


def headers(files: Iterable[Path]) -> dict[str, Tensor]:
    """The tensors of safetensors files, without their numbers: on the device `meta`."""
    found: dict[str, Tensor] = {}
    for path in files:
        with _reading(path), safe_open(path, "pt") as file, torch.device("meta"):
            for name in file.keys():  # noqa: SIM118 - it is no dictionary
                part = file.get_slice(name)
                whole = part.get_dtype() in ("BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")
                found[name] = torch.empty(part.get_shape(), dtype=torch.long if whole else torch.float)
    return found


def _alike(own: Tensor, stored: Tensor) -> bool:
    """Whether a stored tensor has the shape of the model's, and is of whole numbers where that is."""
    return own.shape == stored.shape and own.is_floating_point() == stored.is_floating_point()


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors, in one file or several."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(path):
        with _reading(file):
            # Cloned into memory of torch's own: products round differently on memory that is aligned differently.
            tensors |= {key: t.clone() for key, t in load_file(file).items()}
    return tensors


def fitting_vocabulary(model: SequenceModel, path: Path) -> Vocabulary:
    """The vocabulary in a file; raises `InputError` where its symbols or channels are not as many as the model's."""
    vocabulary = Vocabulary.load(path)
    for name, size in sizes_of(vocabulary).items():
        own, what = getattr(model.config, name, None), "symbols" if name == "vocab" else name
        if own != size and name != "head":
            has = f"{own:,}" if isinstance(own, int) else "none"
            raise InputError(f"'{path}' has {size:,} {what} and the model beside it {has}; restore it")
    return vocabulary


def experience_bytes(state: State) -> bytes:
    """What a model can recall, as it stands in a file: see `read_experience`."""
    return save(packed(state.to_tensors()))


def read_experience(path: Path, model: nn.Module) -> State | None:
    """What a model can recall of its training text; None where there is no such file.

    Raises `InputError` where it is damaged, or another model's.
    """
    if not path.exists():
        return None
    check_regular(path)
    first: State = model.initial_state(1)  # type: ignore[operator]
    with _reading(path, "damaged", "; remove it to do without"):
        state = State.from_tensors(unpacked(load_file(path), first.to_tensors()))
    own = dict(first)
    for key in own.keys() | state.keys():
        if key not in own or key not in state or not _alike(own[key], state[key]):
            raise InputError(f"'{path}' is not what this model can recall: {key[1]} differs; remove it to do without")
    check_numbers({f"{part} of round {r}": t for (r, part), t in state.items()}, path)
    return state


def write_checksums(folder: Path, fields: dict[str, Any]) -> None:
    """Write down what belongs together in an exported folder; `fields` are the model's settings in `config.json`.

    Where the weights are in another form that `transformers` writes, nothing is tied to them.
    """
    (folder / CHECKSUMS).unlink(missing_ok=True)
    if not (folder / WEIGHTS).is_file() and not (folder / INDEX).is_file():
        return
    beside = [path for name in (VOCABULARY, EXPERIENCE) if (path := folder / name).is_file()]
    files = {path.name: describe(path) for path in [*weight_files(folder), *beside]}
    content = {"format": 1, "settings": _digest(fields), "files": files}
    replace_file(folder / CHECKSUMS, json.dumps(content, indent=1) + "\n")


def check_checksums(folder: Path) -> None:
    """Raise `InputError` where what belongs together in an exported folder does not; nothing without `checksums.json`.

    What other programs may write (a tokenizer, a card, the rest of `config.json`) is not looked at.
    """
    path = folder / CHECKSUMS
    if not path.exists():
        return
    meant = f"restore it, or remove {CHECKSUMS} if the change is meant"
    tree = read_json(path)
    files = tree.get("files")
    if not isinstance(files, dict) or tree.get("format") != 1:
        raise InputError(f"'{path}' is not what this version of `inn export` writes; {meant}")
    if tree.get("settings") != _digest(read_json(folder / "config.json").get("inn")):
        raise InputError(f"the settings in '{folder / 'config.json'}' are not those of {CHECKSUMS}; {meant}")
    for name in {*files, *(file.name for file in weight_files(folder))}:
        file = folder / Path(name).name
        check_regular(file)
        if files.get(name) != describe(file):
            raise InputError(f"'{file}' is damaged or another's: its sha256 is not that of {CHECKSUMS}; {meant}")


def _digest(fields: Any) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _reading(path: Path, how: str = "missing or damaged", remedy: str = "") -> Iterator[None]:
    """Turn what cannot be read inside the block into an `InputError` that names the file."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"cannot read '{path}': it is {how} ({error}){remedy}") from error
