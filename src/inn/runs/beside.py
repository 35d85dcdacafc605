"""What belongs to a model beside its weights, and goes along wherever a folder is made of another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from inn.system.errors import InputError
from inn.system.files import plain_errors

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
    if not path.is_file():
        return {}
    try:
        with plain_errors(path):
            fields = json.loads(path.read_bytes())  # where transformers writes numbers of any length
        if not isinstance(fields, dict):
            raise ValueError("it holds no fields")
    except (ValueError, RecursionError) as error:
        raise InputError(f"cannot read '{path}': it is damaged ({error}); take it out to do without") from None
    return fields
