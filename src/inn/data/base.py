"""What every vocabulary is: symbols numbered from 0, text turned into them and back, one line of JSON."""

from __future__ import annotations

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from inn.data.text import Boundary
from inn.registry import VOCABULARIES
from inn.system.errors import InputError, nearest
from inn.system.files import atomic_file, read_file
from inn.system.parse import JSON_BYTES, parse_json

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
    """A set of symbols, numbered from 0, and how text is encoded in them. A kind of your own is a subclass.

    Attributes:
        kind: its name in the registry: `bytes`, `characters`, `words`, `bpe`, `tokenizer`, ...
        unit: what one symbol is.
        metric: what a model's loss per symbol is reported as.
        boundary: between two of what a text is cut into its parts, and into the blocks that are encoded one by one.
        shard_boundary: and into shards.
        parts: the parts of a corpus whose text decides the symbols.
        takes_units: whether their number is asked for (`data.units`).
        lossy: whether decoding may give another text than its normal form; what is lost is then looked for (`spells`).
    """

    kind: ClassVar[str]
    unit: ClassVar[str]
    metric: ClassVar[str]
    boundary: ClassVar[Boundary] = "characters"
    shard_boundary: ClassVar[Boundary] = "words"
    parts: ClassVar[tuple[str, ...]] = ("train",)
    takes_units: ClassVar[bool] = False
    lossy: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def learn(cls, blocks: Iterable[str], units: int) -> Vocabulary:
        """Collect the symbols of a text.

        Args:
            blocks: the text of `parts` in blocks, cut at the `boundary`.
            units: symbols to make at most, where `takes_units`.

        Raises `InputError` for a text that none can be made of.
        """

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of symbols."""

    @property
    def context_free(self) -> bool:
        """Whether a symbol stands for the same bytes wherever it is, so that `decode_bytes` may go part by part."""
        return True

    @abstractmethod
    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        """Return the symbols of a text, `[symbols]` of `dtype`.

        Args:
            text: text, or its UTF-8 bytes.
            unknown: what happens to a symbol the vocabulary lacks: `error` names it, `skip` leaves it out.

        Raises `InputError` for such a symbol, and for bytes that are not UTF-8 where the symbols are not bytes.
        """

    def stretches(self, blocks: Iterable[str]) -> Iterable[str]:
        """A text in blocks, in stretches that encoded one by one give what the whole text gives."""
        return blocks

    @abstractmethod
    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        """Return the text of symbols; raises `IndexError` for numbers outside the vocabulary."""

    def decode_bytes(self, symbols: Sequence[int] | np.ndarray) -> bytes:
        """The UTF-8 bytes of `decode`; where symbols are bytes, those bytes themselves."""
        return self.decode(symbols).encode("utf-8", "surrogatepass")

    def spells(self, symbols: np.ndarray, text: bytes) -> bool:
        """Whether the symbols of a text say all of it, to the byte."""
        return self.decode_bytes(symbols) == text

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
        tree = {"format": FORMAT, "kind": self.kind, "size": self.size, "symbols": self.symbols()}
        VOCABULARIES.check(self.kind)
        origin = VOCABULARIES.origin(self.kind)
        return json.dumps(tree if origin == "built in" else {**tree, "origin": origin})

    @staticmethod
    def from_json(text: str | dict[str, Any]) -> Vocabulary:
        """Undo `to_json`; raises `InputError` for what is not a vocabulary.

        >>> Vocabulary.from_json('{"format": 1, "kind": "characters", "size": 4, "symbols": "ehlo"}').size
        4
        """
        try:
            tree = parse_json(text, "it") if isinstance(text, str) else text
            kind, version = tree["kind"], tree["format"]
            if version != FORMAT:
                raise InputError(f"a vocabulary of format {version} cannot be read; this version of inn reads {FORMAT}")
            VOCABULARIES.check(kind, tree.get("origin"))
            vocabulary = VOCABULARIES[kind].from_symbols(tree["symbols"])
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
        data = read_file(path, JSON_BYTES)
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

    def checked(self, symbols: Sequence[int] | np.ndarray) -> np.ndarray:
        """The symbols as an array of int64, all of them inside the vocabulary."""
        ids = np.asarray(symbols, dtype=np.int64).reshape(-1)
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.size:
            bad = ids[(ids < 0) | (ids >= self.size)][0]
            raise IndexError(f"symbol {bad} is outside the vocabulary of {self.size}")
        return ids


class BytesDecoder:
    """The decoder of symbols that are pieces of UTF-8: a character of several bytes appears with the last of them."""

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        """`piece` gives the bytes of a symbol."""
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, symbol: int) -> str:
        return self._decoder.decode(self._piece(symbol))

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


def utf8_text(text: str | bytes) -> str:
    """Text as it is, or decoded from UTF-8; raises `InputError` for bytes that are none."""
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as e:
        raise InputError(
            f"byte 0x{text[e.start]:02x} at offset {e.start:,} is not UTF-8 text; use --data.vocabulary bytes"
        ) from None


def spellable(text: str | bytes, unknown: str) -> str:
    """A text without what UTF-8 has no bytes for, half of a surrogate pair: left out by `skip`, an error by `error`."""
    check_unknown(unknown)
    text = utf8_text(text)
    try:
        text.encode()
    except UnicodeEncodeError as e:
        if unknown == "error":
            name = named(text[e.start])
            raise InputError(
                f"the text has {name}, which UTF-8 has no bytes for; leave it out, or use --unknown skip"
            ) from None
        return text.encode("utf-8", "ignore").decode()
    return text


def check_unknown(unknown: str) -> None:
    """Raise `InputError` for what `Vocabulary.encode` cannot do about unknown symbols."""
    if unknown not in ("error", "skip"):
        raise InputError(f"unknown cannot be '{unknown}'{nearest(unknown, ['error', 'skip'])}")


def named(character: str) -> str:
    """A character as people can look it up."""
    return f"{character!r} (U+{ord(character):04X})"


def visible(character: str) -> str:
    """A character that shows where it is printed, different for each."""
    if character == " ":
        return "␣"
    if character.isprintable() and character != "␣":
        return character
    return character.encode("unicode_escape").decode("ascii")
