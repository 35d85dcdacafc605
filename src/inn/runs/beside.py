"""What belongs to a model beside its weights, and goes along wherever a folder is made of another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from inn.system.errors import InputError
from inn.system.files import plain_errors
from inn.system.parse import read_json

ABOUT_TEXT = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "additional_chat_templates")
"""How a tokenizer is used: the roles of its special tokens and the templates of a conversation."""
GENERATION = "generation_config.json"
"""How text is drawn."""


def carry(source: str | Path, folder: Path, names: tuple[str, ...] = (*ABOUT_TEXT, GENERATION)) -> None:
    """Copy what `source`, a folder or a file in one, has of `names` into `folder`; what is there already stays."""
    source = Path(source)
    source = source if source.is_dir() else source.parent
    for name in names:
        there, here = source / name, folder / name
        if here.exists() or not there.exists():
            continue
        with plain_errors(there):
            (shutil.copytree if there.is_dir() else shutil.copyfile)(there, here)


def fields_of(path: Path) -> dict[str, Any]:
    """The fields of a JSON file; none where it is not there. Raises `InputError` for one that holds something else."""
    try:
        return read_json(path) if path.is_file() else {}
    except InputError as error:
        raise InputError(f"{error}; take it out to do without") from None
