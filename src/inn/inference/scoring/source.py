"""Bytes as they come out of a file or a pipe."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import BinaryIO

from inn.inference.scoring.lines import Line, LineScorer
from inn.system.files import plain_errors

BLOCK = 1 << 16
"""Bytes read at a time, at most; what a pipe holds."""


def score_lines(scorer: LineScorer, source: BinaryIO) -> Iterator[Line]:
    """Yield the lines of a file or a pipe with what they cost, for as long as it lasts.

    A line of a pipe comes as soon as it is complete and nothing more has arrived; while more is there, symbols are
    read in whole windows, which is faster. Raises `InputError` for what the system refuses to read.
    """
    while block := _read(source):
        yield from scorer.feed(block)
        if not _more(source):
            yield from scorer.flush()
    yield from scorer.end()


def follow(scorer: LineScorer, path: Path, *, every: float = 0.5) -> Iterator[Line]:
    """Yield the lines of a file that grows, for as long as somebody asks, as `tail -F` does: looked at `every` seconds.

    Where the file was replaced or cut short, as logs are when they are rotated, the new one is read from its start;
    where it is gone, it is waited for.
    """
    file, at = None, 0
    try:
        while True:
            with suppress(FileNotFoundError):
                now = path.stat()
                if file is None or os.fstat(file.fileno()).st_ino != now.st_ino or now.st_size < at:
                    fresh = path.open("rb", buffering=0)
                    if file is not None:
                        yield from scorer.feed(file.read())  # what was written before it was put aside
                        file.close()
                    file, at = fresh, 0
            while file is not None and (block := file.read(BLOCK)):
                at += len(block)
                yield from scorer.feed(block)
            yield from scorer.flush()
            time.sleep(every)
    finally:
        if file is not None:
            file.close()


def _read(source: BinaryIO) -> bytes:
    """What has arrived, once anything has; nothing at the end."""
    with plain_errors(getattr(source, "name", "what is piped in")):
        try:
            handle = source.fileno()
        except UnsupportedOperation:  # in memory
            return source.read(BLOCK)
        return os.read(handle, BLOCK)


def _more(source: BinaryIO) -> bool:
    """Whether more can be read without waiting, the end of a file included; False where the system cannot tell."""
    try:
        return bool(select.select([source], [], [], 0)[0])
    except (OSError, ValueError):  # in memory; a pipe on Windows
        return False
