"""Experience: what a model recalls while it is trained, as one who had read the text from its start recalls it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from inn.config.run import RunConfig
from inn.data.streams import Streams
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens
from inn.nn.recall.base import Found, Parts, Recall
from inn.system.errors import InputError
from inn.training.objectives.base import Objective

_CHUNK = 2**14
"""Symbols that are looked up at once."""
NEW = 8
"""One stream of so many reads short texts."""
SHORT = 2048
"""Symbols of a short text."""
_PLACES = 8
"""Slots of its tables, for each of its symbols."""


class Experience:
    """What is recalled at each place of a training text that is read forward (`Streams`, order `forward`).

    Streams that read side by side fill tables of their own with a part of the text each; a model that learned from such
    poor tables would not know what full ones are worth. Here one set of tables reads the text once, in its order, and
    each stream is told what those held at its place: all that stands before it. It is looked up a segment at a time.
    Every eighth stream reads short texts, with tables that are empty at their start, or a model would be lost there.

    Args:
        recall: the kind that looks up; its weights are not used.
        streams: of the training text, all rows of the batch or some.
        short: what looks up in short texts, with smaller tables; None: `recall`.
    """

    def __init__(self, recall: Recall, streams: Streams, short: Recall | None = None):
        self.recall, self.streams, self.short = recall, streams, short or recall
        self._segment: int | None = None
        self._tables: Parts = {}
        self._until = 0  # symbols that the tables have read
        self._found: Found = {}

    def at(self, starts: np.ndarray, length: int) -> Found:
        """What is found in the windows `[starts, starts + length)` of one segment, `[B, T, ...]` by name."""
        edges = self.streams.edges
        segment = int(np.searchsorted(edges, starts[0], side="right")) - 1
        if segment != self._segment:
            self._read(segment)
        first = edges[segment]
        return {
            name: torch.stack([t[start - first : start - first + length] for start in starts.tolist()])
            for name, t in self._found.items()
        }

    def _read(self, segment: int) -> None:
        """Look up a whole segment; what is before it is read first, where that was not done."""
        begin, end = self.streams.edges[segment : segment + 2]
        if self._segment is None or self._until > begin:
            self._tables, self._until = _fresh(self.recall), 0
        for _ in self._pieces(self.recall, self._tables, self._until, begin):
            pass
        self._found = _joined(self._pieces(self.recall, self._tables, begin, end))
        self._until, self._segment = end, segment
        part = (end - begin) // self.streams.batch
        for row in range(NEW - 1, self.streams.batch, NEW):
            for at in range(row * part, (row + 1) * part, SHORT):
                stop = min(at + SHORT, (row + 1) * part)
                own = _joined(self._pieces(self.short, _fresh(self.short), begin + at, begin + stop))
                for name, t in own.items():
                    self._found[name][at:stop] = t

    def _pieces(self, recall: Recall, tables: Parts, begin: int, end: int) -> Iterator[Found]:
        for at in range(begin, end, _CHUNK):
            text = as_tokens(self.streams.symbols[at : min(at + _CHUNK, end)][None], torch.device("cpu"))
            yield recall.find_(text, tables)


def _fresh(recall: Recall) -> Parts:
    return {name: t.cpu() for name, t in recall.initial_state(1).items()}


def _joined(pieces: Iterator[Found]) -> Found:
    """What is found piece by piece as that of one text, without a batch."""
    found = list(pieces)
    return {name: torch.cat([piece[name][0] for piece in found]) for name in found[0]}


def experience_of(model: SequenceModel, config: RunConfig, streams: Streams, objective: Objective) -> Experience | None:
    """That of a model which recalls, on a text that is read forward; None for any other.

    Raises `InputError` for an objective that is not told what is recalled.
    """
    recall = getattr(model, "recall", None)
    if not config.data.text or config.data.order != "forward" or not isinstance(recall, Recall):
        return None
    if not objective.reads_forward:
        raise InputError(
            f"objective '{config.train.objective.kind}' looks up what is recalled by itself, and data.order forward "
            "tells it beforehand; set data.order contiguous, or model.recall none"
        )
    options: Any = model.config.recall
    if not hasattr(options, "slots"):
        return Experience(recall, streams)
    fewer = replace(options, slots=min(options.slots, _PLACES * SHORT))
    return Experience(recall, streams, type(recall)(replace(model.config, recall=fewer)))
