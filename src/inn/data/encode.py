"""From a text to the symbols of a vocabulary, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inn.data.base import Vocabulary
from inn.data.subwords import between_pieces
from inn.data.text import CorpusText
from inn.data.tokens import Tokens


def encoded(
    text: CorpusText, part: str, vocabulary: Vocabulary, unknown: str = "error"
) -> Iterator[tuple[np.ndarray, bytes]]:
    """Yield the symbols of a part in blocks, each with the bytes of text it was made from."""
    if vocabulary.kind == "bytes":
        for block in text.byte_blocks(part):
            yield vocabulary.encode(block, unknown), block
        return
    blocks = text.text_blocks(part, whole_words=vocabulary.kind == "words")
    if isinstance(vocabulary, Tokens):
        blocks = vocabulary.stretches(blocks)
    elif vocabulary.kind == "bpe":
        blocks = between_pieces(blocks)
    for block in blocks:
        yield vocabulary.encode(block, unknown), block.encode()
