"""Prepared corpora: text turned into symbols once, kept in the cache, read through a memory map."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inn.config.run import DataConfig
from inn.data.base import Vocabulary
from inn.data.corpora import corpus_text, find_corpus
from inn.data.dataset import Dataset
from inn.data.encode import encoded, learned
from inn.data.names import Channels, Names
from inn.data.shards import open_shards
from inn.data.task_data import task_data
from inn.data.text import PARTS, CorpusText
from inn.data.tokens import read_symbols
from inn.registry import VOCABULARIES
from inn.system.cache import cache_dir
from inn.system.errors import InputError
from inn.system.files import CACHE, new_folder, only_one, plain_errors, sha256_of
from inn.system.parse import read_json
from inn.system.report import Report

FORMAT = 1
"""Raised whenever the same corpus would be cut or encoded otherwise; what the cache holds is then left unused."""


def prepare(config: DataConfig, vocabulary: Vocabulary | None = None, *, report: Report | None = None) -> Dataset:
    """Return a corpus as symbols, turning its text into them the first time.

    The alphabet of `characters` is collected from all parts, so that every part can be spelt; nothing but the set of
    its characters is taken from the parts held out. The vocabularies of `words` and `bpe` come from the training part
    alone; other words are `<unk>`, while sub-words spell any text. Where `config.tokenizer` names one, the vocabulary
    is read from there, and what is prepared is kept by its content.

    Args:
        config: `corpus`, `vocabulary`, `tokenizer`, `limit` and, for `bpe`, `units` are read.
        vocabulary: used instead of what `config.tokenizer` names or the text decides.
        report: told of what is downloaded, unpacked and encoded.

    Memory stays bounded whatever the size of the text, the distinct words of a vocabulary of words excepted.
    Raises `InputError` as `corpus_text` does, and for bytes that are not UTF-8 (but not with `bytes`).

    Example:
        >>> data = prepare(DataConfig(corpus="pydoc"))
        >>> data.vocabulary.decode(data.train[:22])
        'The "assert" statement'
    """
    found = _prepared(config, vocabulary, report)
    return found if config.limit is None else replace(found, train=found.train[: config.limit])


def _prepared(config: DataConfig, vocabulary: Vocabulary | None, report: Report | None) -> Dataset:
    if config.corpus.startswith("shards:"):
        return _shards(config)
    if not config.text:
        return task_data(config)
    vocabulary = vocabulary or _given(config)
    sha256 = find_corpus(config.corpus).sha256
    if sha256 and (ready := _open(_folder(config, sha256, vocabulary), config, sha256)):
        return ready  # without reading, or even having, the text
    text = corpus_text(config.corpus, VOCABULARIES[config.vocabulary].boundary, report=report)
    folder = _folder(config, text.sha256, vocabulary)
    ready = _open(folder, config, text.sha256)
    if ready is None:
        with only_one(folder, CACHE):
            ready = _open(folder, config, text.sha256)
            if ready is None:
                _write(text, config, vocabulary or learned(text, config.vocabulary, config.units), folder, report)
                ready = _open(folder, config, text.sha256)
    if ready is None:
        raise InputError(f"what was just written to {folder} cannot be read back; check that disk")
    return ready


def encode_corpus(
    name: str, vocabulary: Vocabulary, *, unknown: str = "error", report: Report | None = None
) -> Dataset:
    """Return another corpus in the symbols of a vocabulary that is there already, a trained model's; in memory.

    Args:
        name: a corpus by name, or `file:PATH`.
        vocabulary: whose symbols to use.
        unknown: what happens to symbols that it lacks: `error` names the first, `skip` leaves them out.
        report: told of what is downloaded and unpacked.

    Raises `InputError` as `corpus_text` does, for bytes that are not UTF-8 and for such symbols.

    >>> from inn.data.vocabulary import Characters
    >>> text = encode_corpus("pydoc", Characters("aeiou"), unknown="skip")
    >>> text.vocabulary.size, len(text.train) > len(text.valid) > 0
    (5, True)
    """
    text = corpus_text(name, vocabulary.boundary, report=report)
    parts = {}
    for part in PARTS:
        blocks = [symbols for symbols, _ in encoded(text, part, vocabulary, unknown)]
        parts[part] = np.concatenate([np.zeros(0, vocabulary.dtype), *blocks])
    return Dataset(name, **parts, vocabulary=vocabulary, sha256=text.sha256)


def _shards(config: DataConfig) -> Dataset:
    folder = config.corpus.removeprefix("shards:")
    parts, vocabulary, sha256 = open_shards(folder)
    if vocabulary.kind != config.vocabulary:
        raise InputError(
            f"the shards in {folder} hold {vocabulary.kind}, not {config.vocabulary}; "
            f"set --data.vocabulary {vocabulary.kind}"
        )
    return Dataset(config.corpus, **parts, vocabulary=vocabulary, sha256=sha256)  # type: ignore[arg-type]


def _given(config: DataConfig) -> Vocabulary | None:
    """The vocabulary that the settings name a place of; None where the text decides."""
    if config.tokenizer is None:
        return None
    vocabulary = read_symbols(config.tokenizer)
    if isinstance(vocabulary, Names | Channels):
        raise InputError(f"'{config.tokenizer}' was trained on a task, and no text is in its symbols; name another")
    if vocabulary.kind != config.vocabulary:
        raise InputError(
            f"'{config.tokenizer}' holds a vocabulary of kind '{vocabulary.kind}', not '{config.vocabulary}'; "
            f"set data.vocabulary {vocabulary.kind}"
        )
    return vocabulary


def _folder(config: DataConfig, sha256: str, vocabulary: Vocabulary | None) -> Path:
    name = config.corpus.split(":")[0]  # a path does not belong in a file's name; the sha256 tells the texts apart
    symbols = f"{config.vocabulary}{config.units if VOCABULARIES[config.vocabulary].takes_units else ''}"
    if vocabulary is not None:
        symbols = f"{vocabulary.kind}-{sha256_of([vocabulary.to_json().encode()])[:16]}"
    return cache_dir() / "prepared" / f"{name}-{symbols}-{sha256[:20]}-v{FORMAT}"


def _open(folder: Path, config: DataConfig, sha256: str) -> Dataset | None:
    """What was prepared in `folder`, or None where it is not there or not whole."""
    if not (folder / "dataset.json").exists():
        return None
    try:
        about: dict[str, Any] = read_json(folder / "dataset.json")
        vocabulary = Vocabulary.from_json(about["vocabulary"])
        if about["format"] != FORMAT or about["sha256"] != sha256 or vocabulary.kind != config.vocabulary:
            return None
        parts = {part: _mapped(folder / f"{part}.bin", vocabulary.dtype, about["sizes"][part]) for part in PARTS}
    except PermissionError:
        with plain_errors(folder):
            raise
    except (OSError, ValueError, KeyError, TypeError):  # damaged: prepared again
        return None
    return Dataset(
        config.corpus, **parts, vocabulary=vocabulary, sha256=sha256, inexact=tuple(about.get("inexact", ()))
    )


def _mapped(path: Path, dtype: np.dtype, size: int) -> np.ndarray:
    if path.stat().st_size != size * dtype.itemsize:
        raise ValueError(f"{path} is not {size} symbols long")
    if size == 0:  # nothing can be mapped from an empty file
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r", shape=(size,))


def _write(text: CorpusText, config: DataConfig, vocabulary: Vocabulary, folder: Path, report: Report | None) -> None:
    inexact: dict[str, None] = {}
    total = sum(text.size(part) for part in PARTS)
    sizes, done = {}, 0
    with new_folder(folder, CACHE, contested=True) as new:
        for part in PARTS:
            sizes[part] = 0
            with (new / f"{part}.bin").open("wb") as out:
                for symbols, read in encoded(text, part, vocabulary):
                    out.write(symbols.tobytes())
                    sizes[part] += len(symbols)
                    done += len(read)
                    if vocabulary.lossy and not vocabulary.spells(symbols, read):
                        inexact[part] = None
                    if report:
                        report(f"encoding {text.name}", min(done, total), total)
        about = {
            "format": FORMAT,
            "corpus": config.corpus,
            "sha256": text.sha256,
            "dtype": str(vocabulary.dtype),
            "sizes": sizes,
            "bytes": {part: text.size(part) for part in PARTS},
            "inexact": list(inexact),
            "vocabulary": json.loads(vocabulary.to_json()),
        }
        (new / "dataset.json").write_text(json.dumps(about) + "\n", "ascii")
