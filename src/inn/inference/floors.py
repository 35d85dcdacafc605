"""What tables of counts and a file compressor make of a text: what a model that learned anything must beat."""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterator, Sequence

import numpy as np

from inn.system.errors import InputError

FLOOR_NAMES = {0: "uniform", 1: "unigram", 2: "bigram", 3: "trigram"}
TABLE_LIMIT = 2**25
"""Largest table of counts, in entries; orders beyond it are left out."""
_CHUNK = 2**22


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


def xz_bits(train: str | bytes, held_out: str | bytes, symbols: int | None = None) -> dict[str, float]:
    """Bits per symbol that xz (preset 9e) needs for held-out text: `alone`, and `primed` with the training text.

    `primed` is what the held-out text adds to the compressed training text, of which xz remembers the last 64 MiB.
    `symbols` counts the held-out symbols; the length of `held_out` (characters, or bytes) when None.

    >>> xz_bits("the cat sat on the mat. " * 20, "the cat sat.")["primed"] < 3
    True
    """
    symbols = len(held_out) if symbols is None else symbols
    if symbols < 1:
        raise InputError("there is no held-out text to compress")
    first, second = (text.encode() if isinstance(text, str) else bytes(text) for text in (train, held_out))
    preset = 9 | lzma.PRESET_EXTREME
    alone, base, both = (8 * len(lzma.compress(part, preset=preset)) for part in (second, first, first + second))
    return {"alone": alone / symbols, "primed": (both - base) / symbols}
