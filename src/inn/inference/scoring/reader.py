"""Text that arrives in pieces as the symbols of a vocabulary, line by line, whatever the text is."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import AnyStr

import numpy as np

from inn.data.base import Vocabulary, named
from inn.data.vocabulary import UNKNOWN
from inn.system.errors import InputError, nearest

UNKNOWN_RULES = ("count", "skip", "error")
LACKING, LEFT_OUT = -1, -2
"""In place of a symbol: one that the vocabulary lacks, and that counts; one that is not read and does not count."""
LONGEST = 1 << 16
"""Characters of a text without white space that are kept back for the rest of the word; then it is cut."""
_SURROGATES = re.compile("([\ud800-\udfff])")


@dataclass(frozen=True)
class Piece:
    """A line of a text, or a part of one.

    Attributes:
        raw: the part itself: bytes where symbols are made of bytes, text otherwise (a byte that is not UTF-8 is a lone
            surrogate in it).
        ids: `[n]` int64 symbols; `LACKING` and `LEFT_OUT` stand where there is none.
        widths: `[n]` int64, how much of `raw` each takes.
        ends: whether the line ends with it.
    """

    raw: str | bytes
    ids: np.ndarray
    widths: np.ndarray
    ends: bool


class LineReader:
    r"""Turns bytes that come in any pieces into the symbols that the whole text has.

    What the vocabulary lacks counts, is left out or is an error, by `unknown`; so is every byte that is not UTF-8 where
    symbols are not bytes. A vocabulary of words has `<unk>` for what it lacks, a symbol like any other (left out by
    `skip`). A line break that the vocabulary lacks is read as a space, or left out where it lacks that too, and so is a
    carriage return before it: neither is anything unknown.

    A line ends with its line break and nowhere else. Little more is held in memory than the piece that is fed. A
    sub-word that reaches over a line break belongs to the line that it begins in.

    >>> from inn.data.vocabulary import Characters
    >>> [(p.raw, p.ids.tolist(), p.ends) for p in LineReader(Characters("ab ")).feed(b"ab!\r\nb")]
    [('ab!\r\n', [1, 2, -1, -2, 0], True), ('b', [2], False)]
    """

    def __init__(self, vocabulary: Vocabulary, unknown: str = "count"):
        if unknown not in UNKNOWN_RULES:
            raise InputError(f"unknown cannot be '{unknown}'{nearest(unknown, UNKNOWN_RULES)}")
        self.vocabulary, self.unknown = vocabulary, unknown
        self._read, self._safe = {
            "characters": (self._characters, _before_return),
            "words": (self._words, _after_space),
        }.get(vocabulary.kind, (self._subwords, _between_subwords))
        self.reaches_over = self._read == self._subwords
        """Whether a symbol may reach over a line break, so that a line is read when the next one has begun."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._held, self._line = "", 1
        if vocabulary.kind == "characters":
            self._ids = {character: i for i, character in enumerate(vocabulary.symbols())}
        elif vocabulary.kind == "words":
            self._ids = {word: i for i, word in enumerate(vocabulary.symbols())}

    def feed(self, data: bytes, *, rest: bool = False) -> Iterator[Piece]:
        """Yield the pieces that these bytes complete.

        `rest`: and all that is held back, but for an unfinished character: no more comes soon.

        Raises `InputError` with the number of the line for what the vocabulary lacks, where that is an error.
        """
        if self.vocabulary.kind == "bytes":
            yield from map(_bytes, _lines(data, b"\n"))
            return
        self._held += self._decoder.decode(data)
        cut = len(self._held) if rest else self._safe(self._held)
        text, self._held = self._held[:cut], self._held[cut:]
        for piece in self._read(text):
            yield piece
            self._line += piece.ends

    def end(self) -> Iterator[Piece]:
        """Yield what is left when the text is over, the bytes of an unfinished character included."""
        if self.vocabulary.kind != "bytes":
            self._held += self._decoder.decode(b"", final=True)
        yield from self.feed(b"", rest=True)

    def _characters(self, text: str) -> Iterator[Piece]:
        for line in _lines(text, "\n"):
            ids = self.vocabulary.encode(line, "skip").astype(np.int64)
            if len(ids) < len(line):
                ids = np.array([self._ids.get(c, LACKING) for c in line], dtype=np.int64)
                self._line_break(line, ids)
                self._heed(line, ids)
            yield Piece(line, ids, np.ones(len(line), np.int64), line.endswith("\n"))

    def _line_break(self, line: str, ids: np.ndarray) -> None:
        """Replace a line break that the vocabulary lacks."""
        if line.endswith("\n") and ids[-1] == LACKING:
            ids[-1] = self._ids.get(" ", LEFT_OUT)
        if line.endswith("\r\n") and ids[-2] == LACKING:
            ids[-2] = LEFT_OUT

    def _words(self, text: str) -> Iterator[Piece]:
        for line in _lines(text, "\n"):
            found = list(re.finditer(r"\n|\S+", line))
            ids = self.vocabulary.encode(line).astype(np.int64)
            if _SURROGATES.search(line):  # an unknown word to the vocabulary, but no text at all
                ids[[bool(_SURROGATES.search(word[0])) for word in found]] = LACKING
                self._heed(line, ids)
                ids[ids == LACKING] = self._ids[UNKNOWN]
            if self.unknown == "skip":
                ids[[word[0] not in self._ids and word[0] != "\n" for word in found]] = LEFT_OUT
            places = [0, *(word.end() for word in found)]
            if places[-1] < len(line):  # white space before a word that is still to come
                ids, places = np.append(ids, LEFT_OUT), [*places, len(line)]
            yield Piece(line, ids, np.diff(places), line.endswith("\n"))

    def _subwords(self, text: str) -> Iterator[Piece]:
        ids, widths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for part in _SURROGATES.split(text):
            if _SURROGATES.match(part):
                one = np.array([LACKING])
                self._heed(part, one)
                sizes = [len(part.encode("utf-8", "surrogateescape"))]
            elif part:
                one = self.vocabulary.encode(part).astype(np.int64)
                sizes = [len(self.vocabulary.decode_bytes([i])) for i in one.tolist()]
            else:
                continue
            ids.append(one)
            widths.append(np.array(sizes, dtype=np.int64))
        yield from _by_line(text.encode("utf-8", "surrogateescape"), np.concatenate(ids), np.concatenate(widths))

    def _heed(self, line: str, ids: np.ndarray) -> None:
        """Do about what is lacking what `unknown` says."""
        lacking = ids == LACKING
        if self.unknown == "skip":
            ids[lacking] = LEFT_OUT
        elif self.unknown == "error" and lacking.any():
            character = line[int(np.argmax(lacking))] if len(ids) == len(line) else _SURROGATES.findall(line)[0]
            remedy = "leave it out by --unknown skip, or count it by --unknown count"
            if "\udc80" <= character <= "\udcff":
                raise InputError(f"line {self._line:,}: byte 0x{ord(character) - 0xDC00:02x} is not UTF-8; {remedy}")
            raise InputError(f"line {self._line:,}: {self.vocabulary!r} lack {named(character)}; {remedy}")


def _lines(text: AnyStr, end: AnyStr) -> Iterator[AnyStr]:
    """The lines of a text or of bytes, their line breaks with them; the last may have none."""
    *lines, rest = text.split(end)
    yield from (line + end for line in lines)
    if rest:
        yield rest


def _bytes(line: bytes) -> Piece:
    return Piece(line, np.frombuffer(line, np.uint8).astype(np.int64), np.ones(len(line), np.int64), line[-1:] == b"\n")


def _by_line(raw: bytes, ids: np.ndarray, widths: np.ndarray) -> Iterator[Piece]:
    """Cut bytes and their symbols into lines; what a symbol takes of the next line is left out there."""
    starts = np.concatenate(([0], np.cumsum(widths)))  # of every symbol; and where the last ends
    at = 0
    for line in _lines(raw, b"\n"):
        stop = at + len(line)
        first, last = np.searchsorted(starts[:-1], [at, stop])
        spill = min(int(starts[first]), stop) - at
        of_line = np.diff(np.minimum(starts[first : last + 1], stop)) if last > first else np.zeros(0, np.int64)
        head = [LEFT_OUT] if spill else []
        yield Piece(
            line,
            np.concatenate((np.array(head, np.int64), ids[first:last])),
            np.concatenate((np.array([spill] if spill else [], np.int64), of_line)),
            line.endswith(b"\n"),
        )
        at = stop


def _before_return(text: str) -> int:
    """How much of a text can be read when symbols are characters: whether a line break follows may matter."""
    return len(text) - text.endswith("\r")


def _after_space(text: str) -> int:
    """How much of a text can be read when symbols are words: all up to its last white space."""
    cut = len(text)
    while cut and not text[cut - 1].isspace():
        cut -= 1
    return cut or _all_if_long(text)


def _between_subwords(text: str) -> int:
    """How much of a text can be read when symbols are sub-words, which never reach over this place."""
    for i in range(len(text) - 2, 0, -1):
        if text[i] in " \n" and not text[i + 1].isspace():
            return i
    return _all_if_long(text)


def _all_if_long(text: str) -> int:
    return len(text) if len(text) >= LONGEST else 0
