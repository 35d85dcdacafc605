"""What stands beside the weights in an exported folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from inn.models.sequence import SequenceModel
from inn.runs.exported import EXPERIENCE, VOCABULARY, write_checksums

MODELING = "modeling_inn.py"


def write_beside(model: Any, folder: Path, found: dict[str, Path | None]) -> None:
    """Write what `inn.load` needs beside the weights, and the module that a folder is opened through.

    `found` says where the model was loaded from has it; what the model itself holds comes first.
    """
    inn: SequenceModel = model.inn
    source = files("inn") / "hf" / "modeling.py.txt"
    (folder / MODELING).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    for name, path in found.items():
        if path is not None and not (folder / name).exists():
            (folder / name).write_bytes(path.read_bytes())
    if inn.vocabulary is not None:
        inn.vocabulary.save(folder / VOCABULARY)
    if inn.experience is not None:
        save_file(inn.experience.to_tensors(), folder / EXPERIENCE)
    write_checksums(folder, model.config.inn)
