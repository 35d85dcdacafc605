"""What a model has read, one stream or a stream for each key, and what the symbols that come next cost it."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch

from inn.inference.evaluate import nats_of, overlapping, predictions
from inn.inference.learning import Reader
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens, device_of, evaluating

BITS, LIKELY, CHANCE = 0, 1, 2
"""Rows of costs `[3, n]`: bits of each symbol, what was most likely in its place, and its probability."""


def unscored(n: int) -> np.ndarray:
    """Costs `[3, n]` float64 of symbols that are not scored: NaN bits, nothing expected."""
    return np.repeat(np.array([[math.nan], [-1.0], [0.0]]), n, 1)


@dataclass
class Reading:
    """Where a stream is: what reads it, and the symbol that the next one follows."""

    reader: Reader
    last: int | None


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
        self._first = Reader(model)  # it reads nothing itself
        self._of: OrderedDict[str, Reading] = OrderedDict()
        self._other: Reading | None = None
        self._last: int | None = None

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._of)

    def of(self, key: str | None) -> Reading:
        """The stream of a key, or of what has none; a new one where there was none."""
        if key is None:
            self._other = self._other or Reading(self._first.beside(), self._last)
            return self._other
        if key not in self._of:
            if len(self._of) >= self.most:
                self._of.popitem(last=False)
                self.forgotten += 1
            self._of[key] = Reading(self._first.beside(), self._last)
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
                logits, _ = next(predictions(lambda x, _: (one.reader.read(x), None), [tokens[:, :-1]]))
                top, likely = logits.max(-1)
                rows = nats_of(logits, tokens[:, 1:]), likely, (top - logits.logsumexp(-1)).exp()
                costs.append(torch.cat([row.cpu().double() for row in rows]).numpy())  # not every device has float64
                costs[-1][BITS] /= math.log(2)
        return np.concatenate(costs, 1)
