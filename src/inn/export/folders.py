"""What the folders of several exports have in common: a README from a template, the vocabulary as strangers read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from inn.export.step import NEXT, Program
from inn.models.sequence import SequenceModel
from inn.runs.exported import PRIVATE

README, VOCABULARY = "README.md", "vocabulary.json"


def text(name: str) -> str:
    """A file of `texts/`."""
    return (resources.files("inn.export") / "texts" / f"{name}.txt").read_text(encoding="utf-8")


def write_vocabulary(model: SequenceModel, folder: Path) -> None:
    """The run's vocabulary, if it has one, and under `pieces` the bytes of each symbol, in hexadecimal."""
    if (own := model.vocabulary) is not None:
        pieces = [own.decode_bytes([i]).hex() for i in range(own.size)]
        tree = {**json.loads(own.to_json()), "pieces": pieces}
        (folder / VOCABULARY).write_text(json.dumps(tree) + "\n", encoding="ascii")


def write_readme(
    name: str, model: SequenceModel, program: Program, folder: Path, files: Mapping[str, str], **fields: Any
) -> None:
    """Fill a template: what the model is, the `files` that are there with what they are, and the parts of its state."""
    whats = {**files, VOCABULARY: "the symbols; `pieces` are the bytes of each, in hexadecimal"}
    there = {file: (folder / file).stat().st_size for file in whats if (folder / file).exists()}
    readme = text(name).format(
        title=type(model).__name__,
        parameters=model.num_parameters,
        vocab=model.config.vocab,
        files="\n".join(f"| `{file}` | {size:,} | {whats[file]} |" for file, size in there.items()),
        parts="\n".join(
            f"| `{part}` | {str(t.dtype).removeprefix('torch.')} | `[{', '.join(map(str, ('batch', *t.shape[1:])))}]` "
            f"| `{NEXT}{part}` |"
            for part, t in program.state.items()
        ),
        experience="Nothing has been read in it." if model.experience is None else f"It {PRIVATE}.",
        **fields,
    )
    (folder / README).write_text(readme, encoding="utf-8")
