"""Sub-words: pieces of words that a text has often, learned by byte-pair encoding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from inn.data.base import BytesDecoder, Decoder, Vocabulary, spellable
from inn.system.packages import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_RARE = 2
"""A pair that a text has less often is not merged."""


class SubWords(Vocabulary):
    """Byte-pair encoding (Sennrich et al. 2016) of UTF-8: the 256 bytes, and what merging pairs of symbols makes.

    Nothing is unknown, and decoding gives exactly the text encoded. Pieces do not reach over white space, but for the
    one space before a word, nor from letters to digits or punctuation (the rule of GPT-2). Learning and encoding need
    the package `tokenizers`; decoding does not.

    >>> v = SubWords([(97, 98), (256, 99)])
    >>> v.size, v.encode("abc ab").tolist(), v.decode([257, 32, 256])
    (258, [257, 32, 256], 'abc ab')
    """

    kind, unit, metric = "bpe", "sub-word", "bits"
    takes_units, lossy = True, False

    def __init__(self, merges: Iterable[tuple[int, int]]):
        """`merges`: pairs of symbols in the order of their merging; each new piece gets the next number from 256 on.

        Raises `ValueError` for a pair of symbols that are not there yet, or that is merged twice.
        """
        self._pieces = [bytes([i]) for i in range(256)]
        numbers = {piece: i for i, piece in enumerate(self._pieces)}
        self._merges: dict[tuple[int, int], None] = {}
        for a, b in merges:
            if type(a) is not int or type(b) is not int or not 0 <= min(a, b) <= max(a, b) < len(self._pieces):
                raise ValueError(f"no symbols {a} and {b} to merge")
            if (a, b) in self._merges:
                raise ValueError(f"symbols {a} and {b} are merged twice")
            self._merges[a, b] = None
            piece = self._pieces[a] + self._pieces[b]
            if piece not in numbers:  # two pairs may make the same piece
                numbers[piece] = len(self._pieces)
                self._pieces.append(piece)

    @classmethod
    def learn(cls, blocks: Iterable[str], units: int) -> SubWords:
        """Learn at most `units` sub-words (at least 256) from a text in blocks, which may be cut anywhere.

        Raises `InputError` where the package `tokenizers` is not installed.
        """
        library = tokenizers_library()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        trainer = library.trainers.BpeTrainer(
            vocab_size=units, min_frequency=_RARE, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(between_pieces(blocks), trainer)
        numbers = {letter: byte for byte, letter in LETTERS.items()}
        pairs = []
        for a, b in json.loads(tokenizer.to_str())["model"]["merges"]:
            pairs.append((numbers[a], numbers[b]))
            numbers.setdefault(a + b, len(numbers))
        return cls(pairs)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        library = tokenizers_library()
        tokenizer = library.Tokenizer(self.model())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        return tokenizer

    def model(self) -> Any:
        """The pieces and merges as a `tokenizers.models.BPE`, on the letters that stand for bytes."""
        spelt = ["".join(LETTERS[byte] for byte in piece) for piece in self._pieces]
        merges = [(spelt[a], spelt[b]) for a, b in self._merges]
        return tokenizers_library().models.BPE({piece: i for i, piece in enumerate(spelt)}, merges)

    @property
    def size(self) -> int:
        return len(self._pieces)

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        """As for every vocabulary; unknown is only what has no UTF-8, half of a surrogate pair."""
        text = spellable(text, unknown)
        return np.array(self._tokenizer.encode(text).ids, dtype=self.dtype)

    def stretches(self, blocks: Iterable[str]) -> Iterator[str]:
        return between_pieces(blocks)

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        """The text of sub-words; bytes that are not UTF-8, as a part of a character is, read as U+FFFD."""
        return self.decode_bytes(symbols).decode("utf-8", "replace")

    def decode_bytes(self, symbols: Sequence[int] | np.ndarray) -> bytes:
        """The bytes themselves."""
        return b"".join(map(self._pieces.__getitem__, self.checked(symbols).tolist()))

    def decoder(self) -> Decoder:
        return BytesDecoder(self._pieces.__getitem__)

    def symbol(self, i: int) -> str:
        piece = self._pieces[self.checked([i])[0]]
        return "".join(map(shown, piece.decode("utf-8", "surrogateescape")))

    def symbols(self) -> list[list[int]]:
        """The merges."""
        return [list(pair) for pair in self._merges]

    @classmethod
    def from_symbols(cls, symbols: Any) -> SubWords:
        return cls((a, b) for a, b in symbols)


def between_pieces(blocks: Iterable[str]) -> Iterator[str]:
    """The same text in blocks that sub-words never reach over: encoded one by one, they give what the whole text gives.

    A block ends before the last space or line break that something else follows: no piece holds both what is before
    that place and what is after it.

    >>> list(between_pieces(["two wo", "rds \\n\\nan", "d more"]))
    ['two', ' words \\n', '\\nand', ' more']
    """
    kept = ""
    for block in blocks:
        kept += block
        for i in range(len(kept) - 2, 0, -1):
            if kept[i] in " \n" and not kept[i + 1].isspace():
                yield kept[:i]
                kept = kept[i:]
                break
    if kept:
        yield kept


def _letters() -> dict[int, str]:
    """The letter that byte-level encoders write each byte as: itself where it can be seen, else one from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte if byte in seen else 0x100 + hidden.index(byte)) for byte in range(256)}


LETTERS = _letters()
"""How byte-level tokenizers write every byte."""


def shown(character: str) -> str:
    """A character of a piece's name; a backslash begins what cannot be seen, or is doubled."""
    point = ord(character)
    if 0xDC80 <= point <= 0xDCFF:  # a byte that is no character by itself
        return f"\\x{point - 0xDC00:02x}"
    if character == " ":
        return "␣"
    if character == "\\":
        return "\\\\"
    return character if character.isprintable() and character != "␣" else f"\\u{{{point:x}}}"


def tokenizers_library(kind: str = SubWords.kind) -> Any:
    """The package `tokenizers`; raises `InputError` that names the vocabulary's kind where it is not installed."""
    return require("tokenizers", f"vocabulary '{kind}'", "bpe")
