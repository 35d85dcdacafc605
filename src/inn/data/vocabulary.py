"""Vocabularies: what counts as a symbol, and how text becomes numbers and numbers become text again."""

from __future__ import annotations

import codecs
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from inn.data.files import atomic_file, plain_errors
from inn.errors import InputError, lookup, nearest

UNKNOWN, END = "<unk>", "<eos>"
"""The two words that every vocabulary of words has: any word it lacks, and the end of a line."""

FORMAT = 1


class Decoder(Protocol):
    """Turns symbols into text one at a time; the pieces joined are what `Vocabulary.decode` gives for all of them."""

    def feed(self, symbol: int) -> str:
        """The text that this symbol completes; may be empty."""
        ...

    def flush(self) -> str:
        """The text of what is left unfinished at the end."""
        ...


class Vocabulary(ABC):
    """A set of symbols, numbered from 0.

    Attributes:
        kind: its name in the configuration: `bytes`, `characters` or `words`.
        unit: what one symbol is.
        metric: what a model's loss per symbol is reported as.
    """

    kind: ClassVar[str]
    unit: ClassVar[str]
    metric: ClassVar[str]

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of symbols."""

    @abstractmethod
    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        """Return the symbols of a text, `[symbols]` of `dtype`.

        Args:
            text: text, or its UTF-8 bytes.
            unknown: what happens to a symbol the vocabulary lacks: `error` names it, `skip` leaves it out.

        Raises `InputError` for such a symbol, and for bytes that are not UTF-8 where the symbols are not bytes.
        """

    @abstractmethod
    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        """Return the text of symbols; raises `IndexError` for numbers outside the vocabulary."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """A fresh decoder, for symbols that come one at a time."""

    @abstractmethod
    def symbol(self, i: int) -> str:
        """A printable name of a symbol, different for each."""

    @abstractmethod
    def symbols(self) -> Any:
        """The symbols in their order, as `to_json` stores them."""

    @classmethod
    @abstractmethod
    def from_symbols(cls, symbols: Any) -> Vocabulary:
        """Undo `symbols`; raises `ValueError` or `TypeError` for what is not a list of distinct symbols."""

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned type that holds every symbol, little-endian."""
        return np.dtype("<u1" if self.size <= 1 << 8 else "<u2" if self.size <= 1 << 16 else "<u4")

    def to_json(self) -> str:
        """The vocabulary as one line of JSON, ASCII only."""
        return json.dumps({"format": FORMAT, "kind": self.kind, "size": self.size, "symbols": self.symbols()})

    @staticmethod
    def from_json(text: str | dict[str, Any]) -> Vocabulary:
        """Undo `to_json`; raises `InputError` for what is not a vocabulary.

        >>> Vocabulary.from_json(build_vocabulary("characters", "hello").to_json()).size
        4
        """
        try:
            tree = json.loads(text) if isinstance(text, str) else text
            kind, version = tree["kind"], tree["format"]
            if version != FORMAT:
                raise InputError(f"a vocabulary of format {version} cannot be read; this version of inn reads {FORMAT}")
            vocabulary = lookup("kind of vocabulary", kind, VOCABULARIES).from_symbols(tree["symbols"])
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as e:
            raise InputError(f"this is not a vocabulary that inn has written ({type(e).__name__}: {e})") from e
        if vocabulary.size != tree.get("size"):
            raise InputError(f"a vocabulary declares {tree.get('size')} symbols and lists {vocabulary.size}")
        return vocabulary

    def save(self, path: Path | str) -> None:
        """Write `to_json` to a file, wholly or not at all."""
        with atomic_file(Path(path)) as file:
            file.write(self.to_json().encode() + b"\n")

    @staticmethod
    def load(path: Path | str) -> Vocabulary:
        """Undo `save`; raises `InputError` for a missing or foreign file."""
        with plain_errors(path):
            data = Path(path).read_bytes()
        try:
            return Vocabulary.from_json(data.decode("ascii"))
        except (InputError, UnicodeDecodeError) as e:
            raise InputError(f"{path} cannot be used: {e}") from e

    def __len__(self) -> int:
        return self.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.kind == other.kind and self.symbols() == other.symbols()

    def __hash__(self) -> int:
        return hash((self.kind, self.size))

    def __repr__(self) -> str:
        return f"<{self.size:,} {self.kind}>"

    def _checked(self, symbols: Sequence[int] | np.ndarray) -> np.ndarray:
        """The symbols as an array of int64, all of them inside the vocabulary."""
        ids = np.asarray(symbols, dtype=np.int64).reshape(-1)
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.size:
            bad = ids[(ids < 0) | (ids >= self.size)][0]
            raise IndexError(f"symbol {bad} is outside the vocabulary of {self.size}")
        return ids


class Bytes(Vocabulary):
    """The 256 bytes; text is written in UTF-8. Any text and any file can be encoded, and decodes to the same bytes.

    >>> Bytes().encode("é").tolist(), Bytes().decode([195, 169])
    ([195, 169], 'é')
    """

    kind, unit, metric = "bytes", "byte", "BPB"

    @property
    def size(self) -> int:
        return 256

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        _check_unknown(unknown)
        if isinstance(text, str):
            try:
                # A byte that the terminal could not decode arrives as a lone surrogate and becomes that byte again.
                text = text.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError as e:
                name = _named(text[e.start])
                raise InputError(f"the text has {name}, which UTF-8 has no bytes for; leave it out") from None
        return np.frombuffer(text, np.uint8)

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        """The text of bytes; those that are not UTF-8 read as U+FFFD (`decode_bytes` keeps them)."""
        return self.decode_bytes(symbols).decode("utf-8", "replace")

    def decode_bytes(self, symbols: Sequence[int] | np.ndarray) -> bytes:
        """The bytes themselves."""
        return self._checked(symbols).astype(np.uint8).tobytes()

    def decoder(self) -> Decoder:
        return _BytesDecoder()

    def symbol(self, i: int) -> str:
        byte = int(self._checked([i])[0])
        return _visible(chr(byte)) if byte < 0x80 else f"\\x{byte:02x}"

    def symbols(self) -> None:
        return None

    @classmethod
    def from_symbols(cls, symbols: Any) -> Bytes:
        return cls()


class _BytesDecoder:
    """A character of several bytes appears with the last of them."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, symbol: int) -> str:
        return self._decoder.decode(bytes([symbol]))

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


class Characters(Vocabulary):
    """A set of Unicode characters in the order of their code points. Decoding gives exactly the text encoded.

    >>> v = Characters("abc ")
    >>> v.encode("a cab").tolist(), v.decode([1, 0, 3])
    ([1, 0, 3, 1, 2], 'a c')
    """

    kind, unit, metric = "characters", "character", "BPC"

    def __init__(self, characters: Iterable[str]):
        """`characters`: a text, or its characters, in any order."""
        points = sorted({ord(c) for c in characters})
        if not points:
            raise InputError("a vocabulary of characters needs a text with at least one character")
        self._points = np.array(points, dtype="<u4")
        # One entry per code point up to the last, and one for all beyond: encoding is a single indexed read.
        self._table = np.full(points[-1] + 2, -1, dtype=np.int32)
        self._table[self._points] = np.arange(len(points))

    @property
    def size(self) -> int:
        return len(self._points)

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        _check_unknown(unknown)
        text = _as_text(text)
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        ids = self._table[np.minimum(points, len(self._table) - 1)]
        if len(ids) and ids.min() < 0:
            if unknown == "error":
                at = int(np.argmax(ids < 0))
                raise InputError(
                    f"the vocabulary of {self.size} characters lacks {_named(text[at])}, at position {at:,};"
                    " leave it out, or use --unknown skip"
                )
            ids = ids[ids >= 0]
        return ids.astype(self.dtype)

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        return self._points[self._checked(symbols)].tobytes().decode("utf-32-le", "surrogatepass")

    def decoder(self) -> Decoder:
        return _CharactersDecoder(self)

    def symbol(self, i: int) -> str:
        return _visible(self.decode([i]))

    def symbols(self) -> str:
        return self.decode(np.arange(self.size))

    @classmethod
    def from_symbols(cls, symbols: Any) -> Characters:
        vocabulary = cls(symbols)
        if vocabulary.symbols() != symbols:
            raise ValueError("the characters are not distinct and in order")
        return vocabulary


class _CharactersDecoder:
    def __init__(self, vocabulary: Characters) -> None:
        self._vocabulary = vocabulary

    def feed(self, symbol: int) -> str:
        return self._vocabulary.decode([symbol])

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

    def __init__(self, words: Iterable[str]):
        """`words` in their order; `<unk>` and `<eos>` come before them, as symbols 0 and 1, and need not be given."""
        self._words = list(dict.fromkeys((UNKNOWN, END, *words)))
        self._ids = {word: i for i, word in enumerate(self._words)}
        for word in self._words:
            if word.split() != [word]:
                raise InputError(f"a word of a vocabulary cannot be empty or hold white space, as {word!r} does")

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

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        """As for every vocabulary, but an unknown word is never an error: it is `<unk>`, or is left out by `skip`."""
        _check_unknown(unknown)
        words = _split(_as_text(text))
        if unknown == "skip":
            return np.array([i for w in words if (i := self._ids.get(w)) is not None], dtype=self.dtype)
        get = self._ids.get
        return np.array([get(w, 0) for w in words], dtype=self.dtype)

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        decoder = self.decoder()
        return "".join(decoder.feed(i) for i in self._checked(symbols).tolist())

    def decoder(self) -> Decoder:
        return _WordsDecoder(self._words)

    def symbol(self, i: int) -> str:
        return self._words[self._checked([i])[0]]

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


VOCABULARIES: dict[str, type[Vocabulary]] = {v.kind: v for v in (Bytes, Characters, Words)}
"""Kinds that `DataConfig.vocabulary` may name."""


def build_vocabulary(kind: str, text: str | bytes | Iterable[str] = "") -> Vocabulary:
    """Collect the symbols of a text.

    Args:
        kind: `bytes`, `characters` or `words`.
        text: a text, its UTF-8 bytes, or the text in blocks; words may not be cut by a block's end.

    Words are numbered by falling frequency, then alphabetically. Raises `InputError` for an unknown kind, bytes that
    are not UTF-8, and a text without characters.

    >>> build_vocabulary("words", "a b b").symbols()
    ['<unk>', '<eos>', 'b', 'a']
    """
    lookup("kind of vocabulary", kind, VOCABULARIES)
    if kind == "bytes":
        return Bytes()
    blocks = [_as_text(text)] if isinstance(text, str | bytes) else text
    if kind == "characters":
        seen = np.zeros(0x110000, dtype=bool)
        for block in blocks:
            seen[np.frombuffer(block.encode("utf-32-le", "surrogatepass"), "<u4")] = True
        return Characters(map(chr, np.flatnonzero(seen).tolist()))
    counts: Counter[str] = Counter()
    for block in blocks:
        counts.update(_split(block))
    return Words(sorted(counts, key=lambda word: (-counts[word], word)))


def _split(text: str) -> list[str]:
    return text.replace("\n", f" {END} ").split()


def _as_text(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as e:
        raise InputError(
            f"byte 0x{text[e.start]:02x} at offset {e.start:,} is not UTF-8 text; use --data.vocabulary bytes"
        ) from None


def _check_unknown(unknown: str) -> None:
    if unknown not in ("error", "skip"):
        raise InputError(f"unknown cannot be '{unknown}'{nearest(unknown, ['error', 'skip'])}")


def _named(character: str) -> str:
    """A character as people can look it up."""
    return f"{character!r} (U+{ord(character):04X})"


def _visible(character: str) -> str:
    """A character that shows where it is printed, different for each."""
    if character == " ":
        return "␣"
    if character.isprintable() and character != "␣":
        return character
    return character.encode("unicode_escape").decode("ascii")
