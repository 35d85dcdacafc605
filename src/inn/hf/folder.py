"""What stands beside the weights in an exported folder: written with them, taken away where it is another model's."""

from __future__ import annotations

import contextlib
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from inn.data.vocabulary import Vocabulary
from inn.hf.tokenizer import build_tokenizer
from inn.models.sequence import SequenceModel
from inn.runs.beside import ABOUT_TEXT, fields_of
from inn.runs.card import CARD, TITLE
from inn.runs.checkpoint import describe
from inn.runs.exported import CHECKSUMS, EXPERIENCE, INDEX, VOCABULARY, WEIGHTS, experience_bytes, write_checksums
from inn.system.errors import InputError
from inn.system.files import replace_file

MODELING = "modeling_inn.py"
TOKENIZER = "tokenizer.json"


def check_free_of_adapters(folder: Path, model: Any) -> None:
    """Raise `InputError` where a folder holds an adapter, which `transformers` would open in place of the weights."""
    if (folder / "adapter_config.json").exists() and not getattr(model, "_hf_peft_config_loaded", False):
        raise InputError(f"'{folder}' holds an adapter, which would be put on what is saved; save elsewhere")


def write_beside(model: Any, folder: Path, found: dict[str, Path | None]) -> None:
    """Write what `inn.load` needs beside the weights, and the module that a folder is opened through.

    `found` says where the model was loaded from has it; what the model itself holds comes first. What a folder that is
    written over holds of another model goes: weights in another form, its vocabulary, what it recalls, its tokenizer
    and its card.
    """
    inn: SequenceModel = model.inn
    with contextlib.suppress(FileNotFoundError):  # transformers opens the first, whichever is newer
        min((folder / WEIGHTS, folder / INDEX), key=lambda path: path.stat().st_mtime_ns).unlink()
    source = files("inn") / "hf" / "modeling.py.txt"
    (folder / MODELING).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    before = _vocabulary(folder / VOCABULARY)
    own = {
        VOCABULARY: None if inn.vocabulary is None else f"{inn.vocabulary.to_json()}\n",
        EXPERIENCE: None if inn.experience is None else experience_bytes(inn.experience),
    }
    for name, content in own.items():
        place, path = folder / name, found[name]
        if content is not None:
            replace_file(place, content)
        elif path is None:
            place.unlink(missing_ok=True)
        elif path.resolve() != place.resolve():
            replace_file(place, path.read_bytes())
    _fit_tokenizer(folder, before, _vocabulary(folder / VOCABULARY))
    card, weights = folder / CARD, folder / WEIGHTS
    if card.is_file() and TITLE in card.read_text(encoding="utf-8", errors="replace"):
        known = fields_of(folder / CHECKSUMS).get("files", {}).get(WEIGHTS)
        if not weights.is_file() or known != describe(weights):
            card.unlink()
    write_checksums(folder, model.config.inn)


def _vocabulary(path: Path) -> Vocabulary | None:
    try:
        return Vocabulary.load(path) if path.is_file() else None
    except InputError:  # damaged, and about to be replaced
        return None


def _fit_tokenizer(folder: Path, before: Vocabulary | None, now: Vocabulary | None) -> None:
    """Replace a tokenizer that numbers other symbols than the model has, and take away one of a model before it."""
    if not (folder / TOKENIZER).is_file() or before == now:
        return
    if now is None and before is not None and _numbers(folder, before):
        _remove_tokenizer(folder)
    elif now is not None and not _numbers(folder, now):
        _remove_tokenizer(folder)
        build_tokenizer(now).save_pretrained(folder)


def _numbers(folder: Path, vocabulary: Vocabulary) -> bool:
    """Whether a folder's tokenizer has the symbols of a vocabulary, and perhaps more."""
    try:
        there = Tokenizer.from_file(str(folder / TOKENIZER)).get_vocab()
    except Exception:  # the library raises nothing more particular
        return False
    return build_tokenizer(vocabulary).get_vocab().items() <= there.items()


def _remove_tokenizer(folder: Path) -> None:
    for name in (TOKENIZER, *ABOUT_TEXT):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
