"""Vocabularies: what counts as a symbol, and how text becomes numbers and numbers become text again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from inn.config.run import DataConfig
from inn.data.base import BytesDecoder, Decoder, Vocabulary, check_unknown, named, utf8_text, visible
from inn.data.text import PARTS
from inn.registry import VOCABULARIES
from inn.system.errors import InputError

UNKNOWN, END = "<unk>", "<eos>"
"""The two words that every vocabulary of words has: any word it lacks, and the end of a line."""


class Bytes(Vocabulary):
    """The 256 bytes; text is written in UTF-8. Any text and any file can be encoded, and decodes to the same bytes.

    >>> Bytes().encode("é").tolist(), Bytes().decode([195, 169])
    ([195, 169], 'é')
    """

    kind, unit, metric = "bytes", "byte", "BPB"
    boundary = shard_boundary = "bytes"
    parts, lossy = (), False

    @classmethod
    def learn(cls, blocks: Iterable[str], units: int) -> Bytes:
        """They are always the same."""
        return cls()

    @property
    def size(self) -> int:
        return 256

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        check_unknown(unknown)
        if isinstance(text, str):
            try:
                # A byte that the terminal could not decode arrives as a lone surrogate and becomes that byte again.
                text = text.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError as e:
                name = named(text[e.start])
                raise InputError(f"the text has {name}, which UTF-8 has no bytes for; leave it out") from None
        return np.frombuffer(text, np.uint8)

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        """The text of bytes; those that are not UTF-8 read as U+FFFD (`decode_bytes` keeps them)."""
        return self.decode_bytes(symbols).decode("utf-8", "replace")

    def decode_bytes(self, symbols: Sequence[int] | np.ndarray) -> bytes:
        """The bytes themselves."""
        return self.checked(symbols).astype(np.uint8).tobytes()

    def decoder(self) -> Decoder:
        return BytesDecoder(lambda i: bytes([i]))

    def symbol(self, i: int) -> str:
        byte = int(self.checked([i])[0])
        return visible(chr(byte)) if byte < 0x80 else f"\\x{byte:02x}"

    def symbols(self) -> None:
        return None

    @classmethod
    def from_symbols(cls, symbols: Any) -> Bytes:
        return cls()


class Characters(Vocabulary):
    """A set of Unicode characters in the order of their code points. Decoding gives exactly the text encoded.

    >>> v = Characters("abc ")
    >>> v.encode("a cab").tolist(), v.decode([1, 0, 3])
    ([1, 0, 3, 1, 2], 'a c')
    """

    kind, unit, metric = "characters", "character", "BPC"
    shard_boundary, lossy = "characters", False
    parts = PARTS  # so that every part can be spelt; nothing but the set of its characters is taken from those held out

    def __init__(self, characters: Iterable[str]):
        """`characters`: a text, or its characters, in any order."""
        points = sorted({ord(c) for c in characters})
        if not points:
            raise InputError("a vocabulary of characters needs a text with at least one character")
        self._points = np.array(points, dtype="<u4")
        # One entry per code point up to the last, and one for all beyond: encoding is a single indexed read.
        self._table = np.full(points[-1] + 2, -1, dtype=np.int32)
        self._table[self._points] = np.arange(len(points))
        self._symbols = "".join(map(chr, points))

    @classmethod
    def learn(cls, blocks: Iterable[str], units: int) -> Characters:
        seen = np.zeros(0x110000, dtype=bool)
        for block in blocks:
            seen[np.frombuffer(block.encode("utf-32-le", "surrogatepass"), "<u4")] = True
        return cls(map(chr, np.flatnonzero(seen).tolist()))

    @property
    def size(self) -> int:
        return len(self._points)

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        check_unknown(unknown)
        text = utf8_text(text)
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        ids = self._table[np.minimum(points, len(self._table) - 1)]
        if len(ids) and ids.min() < 0:
            if unknown == "error":
                at = int(np.argmax(ids < 0))
                raise InputError(
                    f"the vocabulary of {self.size} characters lacks {named(text[at])}, at position {at:,};"
                    " leave it out, or use --unknown skip"
                )
            ids = ids[ids >= 0]
        return ids.astype(self.dtype)

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        return self._points[self.checked(symbols)].tobytes().decode("utf-32-le", "surrogatepass")

    def decoder(self) -> Decoder:
        return _CharactersDecoder(self.symbols())

    def symbol(self, i: int) -> str:
        return visible(self.decode([i]))

    def symbols(self) -> str:
        return self._symbols

    @classmethod
    def from_symbols(cls, symbols: Any) -> Characters:
        vocabulary = cls(symbols)
        if vocabulary.symbols() != symbols:
            raise ValueError("the characters are not distinct and in order")
        return vocabulary


class _CharactersDecoder:
    def __init__(self, characters: str) -> None:
        self._characters = characters

    def feed(self, symbol: int) -> str:
        return self._characters[symbol]

    def flush(self) -> str:
        return ""


class Words(Vocabulary):
    """Words between white space, `<unk>` for any other word, `<eos>` for every line break.

    Decoding gives the text in its normal form (`normal`): one space between the words of a line, none at its ends.
    A text in that form, of known words, decodes to itself.

    >>> v = Words(["the", "cat"])
    >>> v.encode("the cat\\nthe dog\\n").tolist(), v.decode([2, 3, 1, 2, 0, 1])
    ([2, 3, 1, 2, 0, 1], 'the cat\\nthe <unk>\\n')
    """

    kind, unit, metric = "words", "word", "PPL"
    boundary, lossy = "words", False

    def __init__(self, words: Iterable[str]):
        """`words` in their order; `<unk>` and `<eos>` come before them, as symbols 0 and 1, and need not be given."""
        self._words = list(dict.fromkeys((UNKNOWN, END, *words)))
        self._ids = {word: i for i, word in enumerate(self._words)}
        for word in self._words:
            if word.split() != [word]:
                raise InputError(f"a word of a vocabulary cannot be empty or hold white space, as {word!r} does")

    @classmethod
    def learn(cls, blocks: Iterable[str], units: int) -> Words:
        """By falling frequency, then alphabetically."""
        counts: Counter[str] = Counter()
        for block in blocks:
            counts.update(split_words(block))
        return cls(sorted(counts, key=lambda word: (-counts[word], word)))

    @staticmethod
    def normal(text: str) -> str:
        """The form of a text that decoding restores exactly.

        >>> Words.normal("  the  cat \\n sat")
        'the cat\\nsat'
        """
        return "\n".join(" ".join(line.split()) for line in text.split("\n"))

    @property
    def size(self) -> int:
        return len(self._words)

    @property
    def context_free(self) -> bool:
        return False  # a space is between words, not of one

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        """As for every vocabulary, but an unknown word is never an error: it is `<unk>`, or is left out by `skip`."""
        check_unknown(unknown)
        words = split_words(utf8_text(text))
        if unknown == "skip":
            return np.array([i for w in words if (i := self._ids.get(w)) is not None], dtype=self.dtype)
        get = self._ids.get
        return np.array([get(w, 0) for w in words], dtype=self.dtype)

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        decoder = self.decoder()
        return "".join(decoder.feed(i) for i in self.checked(symbols).tolist())

    def decoder(self) -> Decoder:
        return _WordsDecoder(self._words)

    def symbol(self, i: int) -> str:
        return self._words[self.checked([i])[0]]

    def symbols(self) -> list[str]:
        return list(self._words)

    @classmethod
    def from_symbols(cls, symbols: Any) -> Words:
        vocabulary = cls(symbols)
        if vocabulary.symbols() != symbols:
            raise ValueError(f"the words are not distinct, or do not begin with {UNKNOWN} and {END}")
        return vocabulary


class _WordsDecoder:
    """A space comes with the word after it, so that a line ends where its last word does."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._inside_line = False

    def feed(self, symbol: int) -> str:
        word = self._words[symbol]
        if word == END:
            self._inside_line = False
            return "\n"
        space = " " if self._inside_line else ""
        self._inside_line = True
        return space + word

    def flush(self) -> str:
        return ""


def build_vocabulary(kind: str, text: str | bytes | Iterable[str] = "", units: int = DataConfig.units) -> Vocabulary:
    """Collect the symbols of a text.

    Args:
        kind: `bytes`, `characters`, `words`, `bpe`, or another of `inn.registry.VOCABULARIES`.
        text: a text, its UTF-8 bytes, or the text in blocks; words may not be cut by a block's end.
        units: sub-words of `bpe`, at most.

    Raises `InputError` for an unknown kind or one that is not made of a text, bytes that are not UTF-8, and a text
    without characters.

    >>> build_vocabulary("words", "a b b").symbols()
    ['<unk>', '<eos>', 'b', 'a']
    """
    VOCABULARIES.check(kind)
    blocks = map(utf8_text, [text]) if isinstance(text, str | bytes) else text
    return VOCABULARIES[kind].learn(blocks, units)


def split_words(text: str) -> list[str]:
    """The words of a text in order, `<eos>` for every line break."""
    return text.replace("\n", f" {END} ").split()
