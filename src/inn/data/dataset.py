"""A corpus as symbols, as training, evaluation and analysis read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inn.config.run import DataConfig
from inn.data.base import Vocabulary
from inn.data.names import sizes_of
from inn.data.streams import Streams
from inn.data.text import PARTS
from inn.system.errors import InputError, lookup


@dataclass(frozen=True)
class Dataset:
    """A corpus as symbols.

    Attributes:
        name: the corpus.
        train, valid, test: `[symbols]` uint8, uint16 or uint32, read-only, mapped from disk; where they are several
            files, `Shards`, of which an array's length, slices and type can be had.
        vocabulary: what the symbols stand for.
        sha256: of the raw text (see `CorpusText`).
        inexact: parts whose text the symbols do not spell to the byte; only a tokenizer may lose something.
        split_sizes: part -> symbols.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: Vocabulary
    sha256: str
    inexact: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, Any]:
        """The fields of a model's configuration that the data decides."""
        return sizes_of(self.vocabulary)

    @property
    def split_sizes(self) -> dict[str, int]:
        return {part: len(getattr(self, part)) for part in PARTS}

    def split(self, name: str) -> np.ndarray:
        """The symbols of a part, or of all parts one after the other (`whole`).

        Raises `InputError` for an unknown part and one too short to predict anything in.
        """
        lookup("part of a corpus", name, dict.fromkeys((*PARTS, "whole")))
        symbols = getattr(self, name) if name in PARTS else np.concatenate([getattr(self, part) for part in PARTS])
        if len(symbols) < 2:
            raise InputError(
                f"the {name} part of corpus '{self.name}' holds {len(symbols)} symbols and needs at least 2;"
                " use a longer text"
            )
        return symbols

    def steps(self, config: DataConfig, symbols: int) -> int:
        """Training steps that so many symbols take."""
        return -(-symbols // (config.batch * config.window))

    def batches(self, config: DataConfig, seed: int, rows: slice) -> Any:
        """The windows of the training part, of the streams of these rows: what training reads, from its start."""
        name = f"the train part of corpus '{self.name}'"
        return Streams(self.train, config.batch, config.window, config.order, seed, rows=rows, name=name)
