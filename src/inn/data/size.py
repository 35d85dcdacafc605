"""How long a text is in units that belong to no vocabulary: what makes scores under different symbols comparable."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from inn.data.base import Vocabulary
from inn.data.corpora import corpus_text
from inn.data.dataset import Dataset
from inn.data.vocabulary import UNKNOWN, split_words
from inn.system.errors import InputError

_CHUNK = 2**20  # symbols decoded at a time
_WORD = re.compile(r"\n|\S+")


@dataclass(frozen=True)
class TextSize:
    """The length of a text."""

    bytes: int
    characters: int
    words: int
    """Runs of anything but white space, and line ends, as the vocabulary `words` counts them."""


def size_of(blocks: Iterable[bytes]) -> TextSize:
    """The size of a text that comes in blocks of UTF-8, cut anywhere.

    >>> size_of([b" the c", b"at\\n sat \\n"])
    TextSize(bytes=15, characters=15, words=5)
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    size = characters = words = 0
    inside = False  # a word that the block before began
    for block in blocks:
        size += len(block)
        characters += int(np.count_nonzero(np.frombuffer(block, np.uint8) & 0xC0 != 0x80))
        if text := decoder.decode(block):
            words += len(split_words(text)) - (inside and not text[0].isspace())
            inside = not text[-1].isspace()
    return TextSize(size, characters, words)


def scored_size(dataset: Dataset, part: str, symbols: np.ndarray, first: bool = False) -> TextSize | None:
    """The size of what is predicted when `symbols` `[n]`, the first of a part, are scored: all but the first of them.

    With `first` that one is predicted too.

    Sub-words, characters and bytes spell the text. Words do not: its white space is read from the corpus itself. None
    where that cannot be had, where the text has words that were read as `<unk>`, and where a tokenizer's tokens do not
    spell it: it is then not predicted wholly.
    """
    if dataset.vocabulary.kind != "words":
        return None if part in dataset.inexact else size_of(_spelt(dataset.vocabulary, symbols, first))
    try:
        text = corpus_text(dataset.name, "words")
    except InputError:
        return None
    if text.sha256 != dataset.sha256:
        return None

    def scored() -> Iterator[str]:
        return _of_words(text.text_blocks(part, whole_words=True), len(symbols), first)

    written = sum(block.split().count(UNKNOWN) for block in scored())
    if written != np.count_nonzero(symbols[not first :] == 0):
        return None
    return size_of(block.encode() for block in scored())


def _spelt(vocabulary: Vocabulary, symbols: np.ndarray, first: bool) -> Iterator[bytes]:
    """The bytes of symbols `[n]`, with or without the `first` of them, in blocks."""
    decoder = vocabulary.decoder()
    if not (vocabulary.context_free or first):
        decoder.feed(int(symbols[0]))
    for at in range(0 if first else 1, len(symbols), _CHUNK):
        part = symbols[at : at + _CHUNK]
        if vocabulary.context_free:
            yield vocabulary.decode_bytes(part)
        else:
            yield "".join(map(decoder.feed, part.tolist())).encode()
    if not vocabulary.context_free:
        yield decoder.flush().encode()


def _of_words(blocks: Iterable[str], count: int, first: bool) -> Iterator[str]:
    """A text up to the end of its `count`-th word, without the `first` or with it; no block may end within a word."""
    seen = 0
    for block in blocks:
        ends = [found.end() for found in _WORD.finditer(block)]
        begin = 0 if seen or first else ends[0] if ends else len(block)
        last = ends[count - seen - 1] if count - seen <= len(ends) else len(block)
        yield block[begin:last]
        seen += len(ends)
        if seen >= count:
            return
