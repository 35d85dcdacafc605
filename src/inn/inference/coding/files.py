"""Text files compressed with a run, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inn.inference.coding.text import compress_text, decompress_text, stored
from inn.inference.floors import COMPRESSORS, compressors
from inn.runs.directory import Run
from inn.runs.load import load
from inn.system.errors import InputError
from inn.system.files import check_free, plain_errors, replace_file


def compress_file(
    run: str | Path | Run,
    file: str | Path,
    out: str | Path,
    *,
    streams: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compress a text file with a run (see `compress_text`) into a new file; returns what it came to, as plain data.

    Beside it, what file compressors make of the text alone: `xz_bytes`; `ppmd_bytes`, `zpaq_bytes` where installed.
    Raises `InputError` as `load` and `compress_text` do, and where `out` is there already.
    """
    check_free(out)
    with plain_errors(file):
        data = Path(file).read_bytes()
    model = load(run)
    packed = stored(compress_text(model, data, streams=streams, progress=progress), data)
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
        "streams": streams,
    }


def decompress_file(
    run: str | Path | Run,
    file: str | Path,
    out: str | Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Undo `compress_file` with the same run; returns the bytes of the text, written where its checksum fits.

    Raises `InputError` as `load` and `decompress_text` do, and where `out` is there already.
    """
    check_free(out)
    with plain_errors(file):
        content = Path(file).read_bytes()
    model = load(run)
    try:
        data = decompress_text(model, content, progress=progress)
    except InputError as error:
        raise InputError(f"{file} cannot be decompressed: {error}") from None
    replace_file(Path(out), data)
    return len(data)
