"""From a text to a vocabulary, and to its symbols, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inn.data.base import Vocabulary
from inn.data.text import CorpusText
from inn.registry import VOCABULARIES


def encoded(
    text: CorpusText, part: str, vocabulary: Vocabulary, unknown: str = "error"
) -> Iterator[tuple[np.ndarray, bytes]]:
    """Yield the symbols of a part in blocks, each with the bytes of text it was made from."""
    if vocabulary.boundary == "bytes":
        for block in text.byte_blocks(part):
            yield vocabulary.encode(block, unknown), block
        return
    for block in vocabulary.stretches(text.text_blocks(part, whole_words=vocabulary.boundary == "words")):
        yield vocabulary.encode(block, unknown), block.encode()


def learned(text: CorpusText, kind: str, units: int) -> Vocabulary:
    """The vocabulary of a kind that a text decides, of `units` symbols at most where their number is asked for."""
    of: type[Vocabulary] = VOCABULARIES[kind]
    words = of.boundary == "words"
    return of.learn((block for part in of.parts for block in text.text_blocks(part, whole_words=words)), units)
