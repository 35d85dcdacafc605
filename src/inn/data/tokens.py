"""The tokens of a tokenizer that somebody else made: a `tokenizer.json`, as Hugging Face's models bring along."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inn.data.base import BytesDecoder, Decoder, Vocabulary, spellable, visible
from inn.data.subwords import LETTERS, shown, tokenizers_library
from inn.system.errors import InputError
from inn.system.files import read_file
from inn.system.parse import JSON_BYTES, parse_json

_LOST = "\ufffd"
"""What the library decodes to where a character is not complete yet."""
_SEARCHED = 1 << 16
"""Characters, from a block's end, among which a place to cut it is looked for."""
_WINDOW = 32
"""Tokens that a decoder keeps at most while none of them completes a character."""


class Tokens(Vocabulary):
    """What a tokenizer of the package `tokenizers` makes of a text, special tokens (begin, end) never added.

    It is kept whole, so that a run needs no other file. Whether tokens spell a text exactly depends on the tokenizer:
    byte-level ones do (GPT-2's kind, most recent models'), one that lowers the case or knows `[UNK]` does not.

    >>> tokenizer = tokenizers_library("tokenizer").Tokenizer.from_str(EXAMPLE)
    >>> v = Tokens(json.loads(tokenizer.to_str()))
    >>> v.size, v.encode("ab a").tolist(), v.decode([2, 1, 0])
    (4, [2, 3, 0], 'abba')
    """

    kind, unit, metric = "tokenizer", "token", "bits"
    parts = ()

    def __init__(self, tree: dict[str, Any], size: int | None = None):
        """`tree`: what a `tokenizer.json` holds; `size`: symbols in all, those the tokenizer lacks never in a text.

        Raises `ValueError` for what is no tokenizer, and for a size below its own.
        """
        library = tokenizers_library("tokenizer")
        # Neither cuts a text nor fills it up; where words end is not guessed, so that decoding adds nothing up.
        tree = {**tree, "truncation": None, "padding": None}
        try:
            self._tokenizer = library.Tokenizer.from_str(json.dumps(tree))
        except Exception as error:  # the library raises nothing more particular
            raise ValueError(f"not a tokenizer ({error})") from None
        self._tree = tree
        if (tree.get("decoder") or {}).get("type") == "WordPiece":
            self._tokenizer.decoder = library.decoders.WordPiece(tree["decoder"]["prefix"], cleanup=False)
        self._ids = self._tokenizer.get_vocab(with_added_tokens=True)
        own = max(self._ids.values(), default=-1) + 1
        self._size = own if size is None else size
        if not own:
            raise ValueError("a tokenizer without a token")
        if self._size < own:
            raise ValueError(f"{size} symbols for a tokenizer of {own}")

    @classmethod
    def learn(cls, blocks: Iterable[str], units: int) -> Tokens:
        raise InputError("a tokenizer is not made of a text; read it by data.tokenizer")

    def filled(self, size: int) -> Tokens:
        """The same with symbols that mean nothing behind its own, `size` in all: models round their number up."""
        return Tokens(self._tree, size)

    @property
    def size(self) -> int:
        return self._size

    @property
    def tree(self) -> dict[str, Any]:
        """What its `tokenizer.json` holds, without padding and truncation."""
        return self._tree

    @property
    def context_free(self) -> bool:
        return self._pieces is not None

    @cached_property
    def _unknown(self) -> int | None:
        """The token for what the tokenizer does not know; None where it has none."""
        model = self._tree.get("model") or {}
        if isinstance(model.get("unk_id"), int):
            return model["unk_id"]
        return self._ids.get(model.get("unk_token") or "")

    @cached_property
    def _pieces(self) -> list[bytes] | None:
        """The bytes of every token, where a token stands for the same bytes everywhere; None where it does not."""
        decoder = self._tree.get("decoder") or {}
        parts = decoder.get("decoders", [decoder])
        if [part.get("type") for part in parts] != ["ByteLevel"]:
            return None
        bytes_of = {letter: byte for byte, letter in LETTERS.items()}
        added = {token["id"]: token["content"] for token in self._tree.get("added_tokens") or []}
        pieces = [b""] * self.size
        for token, i in self._ids.items():
            if i in added or not all(letter in bytes_of for letter in token):
                pieces[i] = added.get(i, token).encode()
            else:
                pieces[i] = bytes(bytes_of[letter] for letter in token)
        return pieces

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        """As for every vocabulary, but an unknown symbol is an error only where it has no UTF-8.

        What the tokenizer has no token for is its own unknown token, if there is one, or is left out by `skip`.
        """
        text = spellable(text, unknown)
        ids = np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=self.dtype)
        return ids[ids != self._unknown] if unknown == "skip" and self._unknown is not None else ids

    def stretches(self, blocks: Iterable[str]) -> Iterator[str]:
        """A text in blocks as stretches that are encoded one by one, cut between two words.

        A tokenizer that marks the beginning of a text as it marks a space is not given the space at a cut as well.
        """
        kept = ""
        for block in blocks:
            kept += block
            at = _between_words(kept)
            if at:
                yield kept[:at]
                kept = kept[at + 1 :] if self._marks_beginnings else kept[at:]
        if kept:
            yield kept

    @cached_property
    def _marks_beginnings(self) -> bool:
        """Whether a text begins as a word after a space does."""

        def ids(text: str) -> list[int]:
            return self._tokenizer.encode(text, add_special_tokens=False).ids

        return ids("a a") != ids("a") + ids(" a") and ids("a a") == ids("a") + ids("a")

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        """The text of tokens; bytes that are not UTF-8, as a part of a character is, read as U+FFFD."""
        if self._pieces is not None:
            return self.decode_bytes(symbols).decode("utf-8", "replace")
        decoder = self.decoder()  # the library, given all at once, takes valid bytes beside broken ones for broken too
        return "".join(map(decoder.feed, self.checked(symbols).tolist())) + decoder.flush()

    def decode_bytes(self, symbols: Sequence[int] | np.ndarray) -> bytes:
        """The bytes themselves, where tokens stand for bytes."""
        if self._pieces is None:
            return self.decode(symbols).encode("utf-8", "surrogatepass")
        return b"".join(map(self._pieces.__getitem__, self.checked(symbols).tolist()))

    def spells(self, symbols: np.ndarray, text: bytes) -> bool:
        """Whether the tokens of a text say all of it, to the byte."""
        if self._pieces is not None:
            return self.decode_bytes(symbols) == text
        return self._text(symbols.tolist()).encode() == text

    def _text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def decoder(self) -> Decoder:
        return BytesDecoder(self._pieces.__getitem__) if self._pieces is not None else _TextDecoder(self._text)

    def symbol(self, i: int) -> str:
        return self._names[int(self.checked([i])[0])]

    @cached_property
    def _names(self) -> list[str]:
        names: list[str] = []
        tokens = {i: token for token, i in self._ids.items()}
        used: set[str] = set()
        for i in range(self.size):
            if self._pieces is not None and i in tokens:
                name = "".join(map(shown, self._pieces[i].decode("utf-8", "surrogateescape")))
            else:
                name = "".join(map(visible, tokens.get(i, "<unused>")))
            name = name if name and name not in used else f"{name}#{i}"
            used.add(name)
            names.append(name)
        return names

    def symbols(self) -> dict[str, Any]:
        """The tokenizer, and how many symbols there are in all."""
        return {"size": self._size, "tokenizer": self._tree}

    @classmethod
    def from_symbols(cls, symbols: Any) -> Tokens:
        return cls(symbols["tokenizer"], symbols["size"])


class _TextDecoder:
    """Decodes a few tokens at a time, each time with those before them, since a token may read otherwise alone."""

    def __init__(self, text: Any) -> None:
        self._text = text
        self._before: list[int] = []  # whose text has been given out
        self._ids: list[int] = []

    def feed(self, symbol: int) -> str:
        self._ids.append(symbol)
        new = self._new()
        if new.endswith(_LOST) and len(self._ids) < _WINDOW:
            return ""
        # Two tokens of context: the second may be without text of its own.
        self._before, self._ids = [*self._before, *self._ids][-max(2, len(self._ids)) :], []
        return new

    def flush(self) -> str:
        new, self._ids = self._new(), []
        return new

    def _new(self) -> str:
        before = self._text(self._before) if self._before else ""
        return self._text([*self._before, *self._ids])[len(before) :]


def read_symbols(path: str | Path) -> Vocabulary:
    """The vocabulary at a path: a `tokenizer.json`, a folder that holds one, or a run, whose symbols are taken.

    Raises `InputError` where there is none, and for a file that is damaged or something else.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no tokenizer at '{path}'; give a tokenizer.json, a folder that holds one, or a run")
    if path.is_dir():
        found = [file for name in ("vocabulary.json", "tokenizer.json") if (file := path / name).is_file()]
        if not found:
            raise InputError(
                f"folder '{path}' holds no tokenizer.json; have transformers write one: "
                "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            )
        path = found[0]
    data, kind = read_file(path, JSON_BYTES), "is not a tokenizer.json:"
    try:
        tree = parse_json(data, "it", object)
        kind = "cannot be used:"
        if isinstance(tree, dict) and "kind" in tree and "format" in tree:
            return Vocabulary.from_json(tree)
        if not isinstance(tree, dict) or "model" not in tree:
            raise ValueError("it has no field 'model'")
        return Tokens(tree)
    except InputError as e:
        raise InputError(f"'{path}' {kind} {e}") from None
    except ValueError as e:
        raise InputError(f"'{path}' is not a tokenizer.json: {e}") from None


def _between_words(text: str) -> int:
    """Where the last space is that stands between two words; the end where none is near it, 0 where it may come yet."""
    for at in range(len(text) - 2, max(0, len(text) - _SEARCHED), -1):
        if text[at] == " " and not text[at - 1].isspace() and not text[at + 1].isspace():
            return at
    return len(text) if len(text) >= _SEARCHED else 0


EXAMPLE = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": [["a", "b"]]},
    }
)
"""A tokenizer.json of four tokens, for examples."""
