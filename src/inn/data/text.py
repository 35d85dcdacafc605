"""The raw text of a corpus: read in blocks, cut into parts, decoded with the offset of what cannot be."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inn.system.errors import InputError, lookup
from inn.system.files import BLOCK, plain_errors, read_file, sha256_of

PARTS = ("train", "valid", "test")
Boundary = Literal["bytes", "characters", "words"]
"""Between two of what a text may be cut."""

MOST = 1 << 34
"""Bytes of a text that is read at once."""
_LONGEST_WORD = 4096  # bytes that a cut moves back to find a space; a longer word is cut


@dataclass(frozen=True)
class Segment:
    """Bytes `start` to `stop` of a file, or of bytes in memory."""

    source: Path | bytes
    start: int
    stop: int

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes in order, at most `BLOCK` at a time."""
        if isinstance(self.source, bytes):
            for at in range(self.start, self.stop, BLOCK):
                yield self.source[at : min(at + BLOCK, self.stop)]
            return
        with plain_errors(self.source), self.source.open("rb") as file:
            file.seek(self.start)
            left = self.stop - self.start
            while left > 0:
                block = file.read(min(BLOCK, left))
                if not block:
                    raise InputError(f"{self.source} became shorter while it was read; leave it alone and start again")
                yield block
                left -= len(block)


@dataclass(frozen=True)
class CorpusText:
    """The text of a corpus in its parts, read from disk whenever it is asked for.

    Attributes:
        name: the corpus.
        sha256: of the text; where train, valid and test are files of their own, of their three hexadecimal sha256s,
            one a line.
        parts: part -> the segments it is made of, in order.
    """

    name: str
    sha256: str
    parts: dict[str, tuple[Segment, ...]]

    def size(self, part: str) -> int:
        """Bytes of a part."""
        return sum(s.stop - s.start for s in lookup("part", part, self.parts))

    def byte_blocks(self, part: str) -> Iterator[bytes]:
        """Yield the bytes of a part in blocks."""
        for segment in lookup("part", part, self.parts):
            yield from segment.blocks()

    def read(self, part: str) -> bytes:
        """The bytes of a part, all in memory."""
        return b"".join(self.byte_blocks(part))

    def text_blocks(self, part: str, *, whole_words: bool = False) -> Iterator[str]:
        """Yield the text of a part in blocks, decoded from UTF-8.

        Args:
            part: `train`, `valid` or `test`.
            whole_words: end every block between two words; a file's end counts as one.

        Raises `InputError` that names the first byte that is not UTF-8, with its offset in its file.
        """
        for segment in lookup("part", part, self.parts):
            blocks = self._decoded(segment)
            yield from (_at_spaces(blocks) if whole_words else blocks)

    def _decoded(self, segment: Segment) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        at = segment.start  # of the first byte that the decoder has not turned into text yet
        for block in chain(segment.blocks(), [b""]):  # the empty one says that nothing follows
            held = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as e:
                where = segment.source if isinstance(segment.source, Path) else f"corpus '{self.name}'"
                raise InputError(
                    f"{where} is not UTF-8 text: byte 0x{e.object[e.start]:02x} at offset {at + e.start:,}"
                    " cannot be decoded; use --data.vocabulary bytes"
                ) from None
            at += held + len(block) - len(decoder.getstate()[0])
            if text:
                yield text

    def digest(self) -> str:
        """The sha256 of all parts, one after the other; reads the whole text."""
        return sha256_of(block for part in self.parts for block in self.byte_blocks(part))


def _at_spaces(blocks: Iterable[str]) -> Iterator[str]:
    """The same text in blocks that end after white space, the last one excepted."""
    kept: list[str] = []
    for block in blocks:
        word = "" if block[-1].isspace() else block.rsplit(None, 1)[-1]
        if len(word) == len(block):  # no space in it
            kept.append(block)
            continue
        yield "".join(kept) + block[: len(block) - len(word)]
        kept = [word] if word else []
    if kept:
        yield "".join(kept)


def split_text(whole: Sequence[Segment], ends: Iterable[int], boundary: Boundary) -> list[tuple[Segment, ...]]:
    """Cut a text at the byte offsets `ends`; one part more comes out than there are cuts.

    For `characters` and `words` a cut inside a UTF-8 character moves back to its start; for `words` a cut inside a
    word moves back to the word's start.
    """
    parts: list[tuple[Segment, ...]] = []
    rest = list(whole)
    done = 0
    for end in ends:
        part: list[Segment] = []
        while rest and done + rest[0].stop - rest[0].start <= end:
            done += rest[0].stop - rest[0].start
            part.append(rest.pop(0))
        if rest and end > done:
            head = rest[0]
            at = _between(head, head.start + end - done, boundary)
            if at > head.start:
                part.append(Segment(head.source, head.start, at))
                rest[0] = Segment(head.source, at, head.stop)
                done += at - head.start
        parts.append(tuple(part))
    return [*parts, tuple(rest)]


def _between(segment: Segment, at: int, boundary: Boundary) -> int:
    """The nearest place at or before `at` that is between two bytes, characters or words."""
    if boundary == "bytes":
        return at
    first = max(segment.start, at - _LONGEST_WORD)
    before = b"".join(Segment(segment.source, first, min(at + 1, segment.stop)).blocks())  # and the byte after the cut
    i = at - first
    for _ in range(3):  # a character is at most four bytes, all but the first of them 0b10......
        if 0 < i < len(before) and before[i] & 0xC0 == 0x80:
            i -= 1
    spaces = [k for k in range(len(before)) if before[k : k + 1].isspace()]
    if boundary == "words" and i not in spaces and i - 1 not in spaces:
        start = 0 if first == segment.start else i  # a word longer than the search is cut after all
        i = max((k + 1 for k in spaces if k < i), default=start)
    return first + i


def file_symbols(path: str | Path, encode: Callable[[str], Any]) -> np.ndarray:
    """A text file as symbols `[n]` int64, all in memory; `encode` turns a text into numbers.

    Raises `InputError` for a file that cannot be read, and one that is not UTF-8.
    """
    content = read_file(path, MOST)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: byte 0x{content[error.start]:02x} at {error.start:,}") from None
    return np.asarray(encode(text)).astype(np.int64)
