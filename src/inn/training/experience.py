"""Experience: what a model recalls while it is trained, as one who had read the text from its start recalls it."""

from __future__ import annotations

from collections.abc import Iterator

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
"""One stream of so many recalls nothing of what stands before its segment."""
SHORT = 2048
"""... nor of what stands further back than a multiple of so many symbols."""


class Experience:
    """What is recalled at each place of a training text that is read forward (`Streams`, order `forward`).

    Streams that read side by side fill tables of their own with a part of the text each; a model that learned from such
    poor tables would not know what full ones are worth. Here one set of tables reads the text once, in its order, and
    each stream is told what those held at its place: all that stands before it. It is looked up a segment at a time.
    Every eighth stream begins each segment with empty tables, or a model would be lost at the start of a text.

    Args:
        recall: the kind that looks up; its weights are not used.
        streams: of the training text, all rows of the batch or some.
    """

    def __init__(self, recall: Recall, streams: Streams):
        self.recall, self.streams = recall, streams
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
            self._tables, self._until = self._fresh(), 0
        for _ in self._pieces(self._tables, self._until, begin):
            pass
        self._found = self._stretch(self._tables, begin, end)
        self._until, self._segment = end, segment
        part = (end - begin) // self.streams.batch
        for row in range(NEW - 1, self.streams.batch, NEW):
            for at in range(row * part, (row + 1) * part, SHORT):
                own = self._stretch(self._fresh(), begin + at, begin + min(at + SHORT, (row + 1) * part))
                for name, t in own.items():
                    self._found[name][at : at + len(t)] = t

    def _stretch(self, tables: Parts, begin: int, end: int) -> Found:
        pieces = list(self._pieces(tables, begin, end))
        return {name: torch.cat([piece[name][0] for piece in pieces]) for name in pieces[0]}

    def _pieces(self, tables: Parts, begin: int, end: int) -> Iterator[Found]:
        for at in range(begin, end, _CHUNK):
            text = as_tokens(self.streams.symbols[at : min(at + _CHUNK, end)][None], torch.device("cpu"))
            yield self.recall.find_(text, tables)

    def _fresh(self) -> Parts:
        return {name: t.cpu() for name, t in self.recall.initial_state(1).items()}


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
    return Experience(recall, streams)
