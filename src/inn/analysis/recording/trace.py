"""Recording every symbol of a passage, where a tape keeps averages only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from inn.analysis.recording.record import writing_on
from inn.nn.tape import Tape
from inn.system.errors import InputError


class Trace(Tape):
    """A tape that also keeps the values of every symbol: for passages short enough to hold in memory."""

    each = True

    def __init__(self, channels: tuple[str, ...]):
        super().__init__(channels)
        self._values: dict[tuple[str, int], list[Tensor]] = {}

    def keep(self, channel: str, r: int, values: Tensor) -> None:
        self._values.setdefault((channel, r), []).append(values)

    def values(self, channel: str) -> Tensor:
        """Every symbol's values by round, `[R, symbols, ...]`: call after call, in each row after row.

        The units are those of `inn.nn.tape.CHANNELS`. Raises `InputError` if nothing of the channel was recorded.
        """
        rounds = sorted(r for name, r in self._values if name == channel)
        if not rounds:
            raise InputError(
                f"nothing was recorded of '{channel}'; trace it, and run the model inside the `with` block"
            )
        return torch.stack([torch.cat(self._values[channel, r]) for r in rounds])


@contextmanager
def trace(model: nn.Module, *channels: str) -> Iterator[Trace]:
    """Like `record`, but every symbol is kept.

    Example:
        >>> import inn
        >>> model = inn.INN(vocab=27, neurons=4, width=16, rounds=2)
        >>> with trace(model, "activity") as passage:
        ...     _ = model(torch.randint(27, (1, 50)))
        >>> passage.values("activity").shape
        torch.Size([2, 50, 4])
    """
    with writing_on(model, Trace(channels)) as tape:
        yield tape
