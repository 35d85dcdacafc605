"""What a model expects of streams of symbols, as whole numbers that are the same on every machine."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from inn.export.exact.run import Streams
from inn.export.exact.trace import plain_program
from inn.inference.learning import Reader
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens, device_of
from inn.system.errors import InputError

VERSION = 1
"""Of the arithmetic: it grows where the same model comes to other numbers."""


class Portable:
    """A model whose predictions are whole numbers, bit for bit the same wherever they are made.

    Tables of what was read hold whole numbers, and are the model's own; all else is its plain program.

    Args:
        model: in evaluation mode.

    Raises `InputError` as `plain_program` does, and where this process takes the smallest numbers for zero.

    >>> import inn
    >>> portable = Portable(inn.INN(vocab=5, neurons=2, width=8, rounds=1, slots=64).eval())
    >>> portable.reader(streams=3)(np.array([0, 1, 2])).shape
    (3, 5)
    """

    version = VERSION

    def __init__(self, model: SequenceModel):
        self.model = model if device_of(model).type == "cpu" else copy.deepcopy(model).cpu()
        self.program = plain_program(self.model)
        if not (np.full(64, 2.0**-1060) * 0.5).all():
            raise InputError(
                "this process takes the smallest numbers for zero, as IEEE 754 does not; leave out "
                "torch.set_flush_denormal, and what was compiled by -ffast-math"
            )

    def reader(self, streams: int, together: bool = False) -> Callable[[np.ndarray], np.ndarray]:
        """What reads on: a function of the next symbols `[B]`; it gives the odds `[B, V]` of those after them.

        Odds are whole numbers in float64, 2^30 for the likeliest symbol, or no numbers where the model predicts none.
        """
        tables, program = Reader(self.model, streams, together=together), Streams(self.program, streams)

        def read(symbols: np.ndarray) -> np.ndarray:
            found = tables.look_up(as_tokens(symbols, device_of(self.model))[:, None]) or {}
            return program.step(symbols, {name: t.numpy() for name, t in found.items()})["odds"]

        return read
