"""What tables of counts and file compressors make of a text: what a model that learned anything must beat."""

from __future__ import annotations

import lzma
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from inn.system.errors import InputError
from inn.system.packages import optional, require

FLOOR_NAMES = {0: "uniform", 1: "unigram", 2: "bigram", 3: "trigram"}
TABLE_LIMIT = 2**25
"""Largest table of counts, in entries; orders beyond it are left out."""
_CHUNK = 2**22
_PPMD = 1 << 30  # bytes of memory
_ZPAQ_TEXT = "x{},0w2c0,1010,255i1c256ci1,1,1,1,1,1,2ac0,2,0,255i1c0,3,0,0,255i1c0,4,0,0,0,255i1mm16ts19t0"
"""What -m5 is for text, as zpaq's manual has it; the number is log2 of the tables' size in MiB."""


def ngram_counts(symbols: np.ndarray, vocab: int, order: int) -> np.ndarray:
    """Count the n-grams of a text: `[vocab ** order]` int32, the last symbol varying fastest."""
    counts = np.zeros(vocab**order, dtype=np.int32)
    for codes in _codes(symbols, vocab, order):
        if counts.size <= _CHUNK:
            counts += np.bincount(codes, minlength=counts.size).astype(np.int32)
        else:  # a bincount per chunk would cost more than the chunk
            np.add.at(counts, codes, 1)
    return counts


def ngram_bits(counts: np.ndarray, symbols: np.ndarray, vocab: int, order: int) -> float:
    """Bits per symbol of a text under add-one smoothed n-gram counts, (count + 1) / (context + vocab).

    The symbols scored are those with a whole context, the first symbol never.
    """
    contexts = counts.reshape(-1, vocab).sum(axis=1, dtype=np.int64)
    total, n = 0.0, 0
    for codes in _codes(symbols[1:] if order == 1 else symbols, vocab, order):
        share = (counts[codes] + 1.0) / (contexts[codes // vocab] + vocab)
        total -= float(np.log2(share).sum())
        n += len(codes)
    return total / max(1, n)


def _codes(symbols: np.ndarray, vocab: int, order: int) -> Iterator[np.ndarray]:
    """Number the n-grams of a text, a chunk of int64 codes at a time."""
    n = len(symbols) - order + 1
    for at in range(0, n, _CHUNK):
        size = min(_CHUNK, n - at)
        codes = np.zeros(size, dtype=np.int64)
        for i in range(order):
            codes *= vocab
            codes += symbols[at + i : at + i + size]
        yield codes


def floors(
    train_symbols: np.ndarray, eval_symbols: np.ndarray, vocab: int, orders: Sequence[int] = (0, 1, 2, 3)
) -> dict[str, float]:
    """Bits per symbol that tables of counts reach on a text: what a model that learned anything must beat.

    Add-one smoothed cross-entropy, counted on `train_symbols`, scored on `eval_symbols` (both `[n]` integers below
    `vocab`). Order 0 is uniform, 1 unigram, 2 bigram, 3 trigram, then "4-gram", ...; orders whose table would exceed
    2**25 entries are left out.

    >>> text = np.array([0, 1] * 500)
    >>> {name: round(bits, 2) for name, bits in floors(text, text, vocab=2, orders=(0, 1, 2)).items()}
    {'uniform': 1.0, 'unigram': 1.0, 'bigram': 0.0}
    """
    result = {}
    for order in orders:
        name = FLOOR_NAMES.get(order, f"{order}-gram")
        if order == 0:
            result[name] = math.log2(vocab)
        elif vocab**order <= TABLE_LIMIT and len(eval_symbols) > order:
            result[name] = ngram_bits(ngram_counts(train_symbols, vocab, order), eval_symbols, vocab, order)
    return result


def _xz(text: bytes) -> int:
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def _ppmd(text: bytes) -> int:
    compressed = require("pyppmd", "PPMd", "compressors").compress(text, max_order=8, mem_size=_PPMD, variant="H")
    return len(compressed)


def _zpaq(text: bytes, method: str = "5") -> int:
    program = shutil.which("zpaq")
    if program is None:
        raise InputError("zpaq needs the program 'zpaq'; install it: apt-get install zpaq, or mattmahoney.net/zpaq")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text").write_bytes(text)
        command = [program, "add", "archive.zpaq", "text", f"-m{method}", "-t1", "-noattributes"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (Path(folder) / "archive.zpaq").stat().st_size


def _tables(length: int) -> int:
    """log2 of the MiB that -m5 takes for the tables of a file of this length."""
    return max(0, (length + 4095).bit_length() - 20)


def _zpaq_beginning(text: bytes, length: int) -> int:
    """The bytes that zpaq makes of a text with the tables that a file of this length gets.

    -m5 takes larger ones for a longer file: without this, what they save of the text's beginning would be counted as if
    the rest were shorter.
    """
    own, wanted = _tables(len(text)), _tables(length)
    found = _zpaq(text)
    if own == wanted or abs(_zpaq(text, _ZPAQ_TEXT.format(own)) - found) > 64:  # not what -m5 takes for text
        return found  # its date makes a byte or two
    return _zpaq(text, _ZPAQ_TEXT.format(wanted))


COMPRESSORS: dict[str, Callable[[bytes], int]] = {"xz": _xz, "PPMd": _ppmd, "zpaq -m5": _zpaq}
"""File compressors by name: from a text to the bytes that they make of it. xz (preset 9e) and zpaq remember the last
64 MiB, PPMd (variant H, order 8) as much as fits into 1 GiB."""


def compressors() -> dict[str, str]:
    """Those of `COMPRESSORS` that are on this machine, with version and settings."""
    found = {"xz": "preset 9e"}
    if (ppmd := optional("pyppmd")) is not None:
        found["PPMd"] = f"pyppmd {ppmd.__version__}, variant H, order 8, {_PPMD >> 20} MiB"
    if (program := shutil.which("zpaq")) is not None:
        said = subprocess.run([program], capture_output=True, text=True).stdout
        found["zpaq -m5"] = f"{said.partition(' journaling')[0] or 'zpaq'}, -m5 -t1"
    return found


def zstd_bytes(text: bytes) -> int | None:
    """What zstd makes of a text at level 19; None where it is not on this machine. It is asked of a text alone only."""
    program = shutil.which("zstd")
    if program is None:
        return None
    return len(subprocess.run([program, "-19", "-c"], input=text, check=True, capture_output=True).stdout)


def primed_bits(name: str, train: bytes, held_out: Sequence[bytes]) -> list[int]:
    """Bits that each held-out text adds to a training text: what the compressor needs for it after that text.

    >>> primed_bits("xz", b"the cat sat on the mat. " * 20, [b"", b"the cat sat."])[0]
    0
    """
    size, known = COMPRESSORS[name], dict[int, int]()

    def beginning(length: int) -> int:
        tables = _tables(length) if size is _zpaq else 0
        if tables not in known:
            known[tables] = _zpaq_beginning(train, length) if size is _zpaq else size(train)
        return known[tables]

    return [8 * (size(train + text) - beginning(len(train) + len(text))) for text in held_out]


def compressor_bits(
    name: str, train: str | bytes, held_out: str | bytes, symbols: int | None = None
) -> dict[str, float]:
    """Bits per symbol that a compressor needs for held-out text: `alone`, and `primed` with the training text.

    `symbols` counts the held-out symbols; the length of `held_out` (characters, or bytes) when None. Raises
    `InputError` for one of `COMPRESSORS` that is not on this machine.

    >>> compressor_bits("xz", "the cat sat on the mat. " * 20, "the cat sat.")["primed"] < 3
    True
    """
    symbols = len(held_out) if symbols is None else symbols
    if symbols < 1:
        raise InputError("there is no held-out text to compress")
    first, second = (text.encode() if isinstance(text, str) else bytes(text) for text in (train, held_out))
    (primed,) = primed_bits(name, first, [second])
    return {"alone": 8 * COMPRESSORS[name](second) / symbols, "primed": primed / symbols}
