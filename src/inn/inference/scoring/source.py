"""Bytes as they come out of a file or a pipe."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from io import UnsupportedOperation
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
