"""What a model has read, one stream or a stream for each key, and what the symbols that come next cost it."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.inference.evaluate import nats_of, overlapping, predictions
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens, device_of, evaluating
from inn.nn.recall.base import Parts, Recall
from inn.nn.state import State

BITS, LIKELY, CHANCE = 0, 1, 2
"""Rows of costs `[3, n]`: bits of each symbol, what was most likely in its place, and its probability."""
TABLE = "table"
"""The part of what is recalled that all keys share."""


def unscored(n: int) -> np.ndarray:
    """Costs `[3, n]` float64 of symbols that are not scored: NaN bits, nothing expected."""
    return np.repeat(np.array([[math.nan], [-1.0], [0.0]]), n, 1)


@dataclass
class Reading:
    """Where a stream is: its memories, its last symbols for recall, and the symbol that the next one follows."""

    last: int | None
    state: State | None = None
    recalled: Parts | None = None


class Readings:
    """Reads symbols with a model, each stream in a state of its own, and tells what they cost.

    All streams share one set of the tables of what is recalled, which may be large; each has its own memories and last
    symbols. A stream that is new goes on from the symbol that was read last, whoever's that was: the end of a line.

    Args:
        model: read with in evaluation mode.
        window: symbols per forward pass; the results do not depend on it, up to rounding.
        most: keys whose streams are kept; the one that was not read for longest is forgotten.

    Attributes:
        forgotten: how often a stream was.
    """

    def __init__(self, model: SequenceModel, window: int, most: int):
        self.model, self.window, self.most, self.forgotten = model, window, most, 0
        recall = getattr(model, "recall", None)
        self._recall = recall if isinstance(recall, Recall) else None
        self._fresh: Parts = {} if self._recall is None else self._recall.initial_state(1)
        self._tables: Parts = {name: self._fresh.pop(name) for name in (TABLE,) if name in self._fresh}
        self._of: OrderedDict[str, Reading] = OrderedDict()
        self._other: Reading | None = None
        self._last: int | None = None

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._of)

    def of(self, key: str | None) -> Reading:
        """The stream of a key, or of what has none; a new one where there was none."""
        if key is None:
            self._other = self._other or Reading(self._last)
            return self._other
        if key not in self._of:
            if len(self._of) >= self.most:
                self._of.popitem(last=False)
                self.forgotten += 1
            self._of[key] = Reading(self._last)
        self._of.move_to_end(key)
        return self._of[key]

    def cost(self, symbols: np.ndarray, key: str | None) -> np.ndarray:
        """Costs `[3, n]` float64 of the symbols `[n]` that come next in a stream; the first of a text is not scored."""
        if not len(symbols):
            return unscored(0)
        one = self.of(key)
        read = symbols if one.last is None else np.concatenate(([one.last], symbols))
        costs = [unscored(int(one.last is None))]
        self._last = one.last = int(symbols[-1])
        with evaluating(self.model):
            for tokens in overlapping(as_tokens(read, device_of(self.model))[None], self.window):
                logits, _ = next(predictions(self._read, [tokens[:, :-1]], one))
                top, likely = logits.max(-1)
                rows = nats_of(logits, tokens[:, 1:]), likely, (top - logits.logsumexp(-1)).exp()
                costs.append(torch.cat([row.cpu().double() for row in rows]).numpy())  # not every device has float64
                costs[-1][BITS] /= math.log(2)
        return np.concatenate(costs, 1)

    def _read(self, tokens: Tensor, one: Reading) -> tuple[Tensor, Reading]:
        """Logits, and the stream after it; tables are changed in place, for a copy of them would cost more."""
        more: dict[str, Any] = {}
        if self._recall is not None:
            one.recalled = one.recalled or {name: t.clone() for name, t in self._fresh.items()}
            more["found"] = self._recall.find_(tokens, {**self._tables, **one.recalled})
        logits, one.state = self.model(tokens, one.state, **more)
        return logits, one
