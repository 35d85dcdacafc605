"""Text files compressed with a run, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from inn.config.settings import recipes, resolve
from inn.data.vocabulary import build_vocabulary
from inn.inference.coding.text import compress_text, decompress_text, stored
from inn.inference.floors import COMPRESSORS, compressors, zstd_bytes
from inn.inference.learning import Learning
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.models.size import sized
from inn.runs.directory import Run
from inn.runs.load import is_inn, load, path_of
from inn.system.errors import InputError
from inn.system.files import check_free, plain_errors, replace_file


def compress_file(
    run: str | Path | Run,
    file: str | Path,
    out: str | Path,
    *,
    streams: int = 1,
    learn: Learning | None = None,
    portable: bool = False,
    settings: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compress a text file with a run (see `compress_text`) into a new file; returns what it came to, as plain data.

    In place of a run a recipe's name (or YAML file) can stand: its model begins with nothing (`fresh`, with these
    `settings`) and has to learn. Beside it, what file compressors make of the text alone: `xz_bytes`; `ppmd_bytes`,
    `zpaq_bytes`, `zstd_bytes` where installed. Raises `InputError` as `load`, `fresh` and `compress_text` do, and where
    `out` is there already.
    """
    check_free(out)
    with plain_errors(file):
        data = Path(file).read_bytes()
    model = _opened(run, settings)
    if learn is None and is_recipe(run):
        if portable:
            raise InputError(f"the model of recipe '{run}' knows nothing, and none learns portably; give a run")
        raise InputError(f"the model of recipe '{run}' knows nothing; let it learn, with --learn, or give a run")
    packed = stored(
        compress_text(model, data, streams=streams, learn=learn, portable=portable, progress=progress), data
    )
    replace_file(Path(out), packed.content)
    assert model.vocabulary is not None
    return {
        "file": str(file),
        "out": str(out),
        "bytes": len(data),
        "compressed_bytes": len(packed.content),
        "symbols": packed.symbols,
        "unit": model.vocabulary.unit,
        "bits_per_symbol": 8 * len(packed.content) / packed.symbols if packed.symbols else None,
        "model_bits_per_symbol": packed.model_bits / packed.symbols if packed.symbols else None,
        **{f"{name.split()[0].lower()}_bytes": COMPRESSORS[name](data) for name in compressors()},
        **({} if (size := zstd_bytes(data)) is None else {"zstd_bytes": size}),
        "streams": streams,
        "parameters": model.num_parameters,
        "portable": portable,
        "learn": None if learn is None else asdict(learn),
    }


def is_recipe(name: str | Path | Run) -> bool:
    """Whether this names a recipe, and not a run."""
    path = Path(name)
    return not (path.exists() and is_inn(path)) and (str(path) in recipes() or path.suffix in (".yaml", ".yml"))


def fresh(recipe: str, settings: Sequence[str] = ()) -> SequenceModel:
    """The model of a recipe as it begins, the same wherever it is made: its weights are drawn from seed 0.

    `settings` are overrides, as `--section.field value`. Raises `InputError` for a recipe that does not read bytes: any
    other vocabulary would have to be in the file, too.

    >>> fresh("bytes-counts", ["--model.recall.slots", "64"]).vocabulary.size
    256
    """
    given = resolve(recipe, settings)
    if not given.config.data.text or given.config.data.vocabulary != "bytes":
        raise InputError(f"recipe '{recipe}' does not read bytes; set --data.vocabulary bytes, or use 'bytes-counts'")
    vocabulary = build_vocabulary("bytes")
    config = sized(given, {"vocab": vocabulary.size})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(config.model)
    model.vocabulary = vocabulary
    return model.eval()


def _opened(run: str | Path | Run, settings: Sequence[str]) -> SequenceModel:
    if is_recipe(run):
        return fresh(str(run), settings)
    if settings:
        raise InputError(f"'{path_of(run)}' is a run and has settings of its own; leave {settings[0]} out")
    return load(run)


def decompress_file(
    run: str | Path | Run,
    file: str | Path,
    out: str | Path,
    *,
    settings: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Undo `compress_file` with the same run, or recipe and settings; returns the bytes of the text.

    It is written where its checksum fits. Raises `InputError` as `load`, `fresh` and `decompress_text` do, and where
    `out` is there already.
    """
    check_free(out)
    with plain_errors(file):
        content = Path(file).read_bytes()
    model = _opened(run, settings)
    try:
        data = decompress_text(model, content, progress=progress)
    except InputError as error:
        raise InputError(f"{file} cannot be decompressed: {error}") from None
    replace_file(Path(out), data)
    return len(data)
