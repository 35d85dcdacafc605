"""What is kept of conversations between two requests: states by name, the least recently used dropped first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from inn.data.base import Decoder
from inn.nn.state import State
from inn.system.errors import InputError


@dataclass(frozen=True)
class Keep:
    """How much is kept of conversations that nobody has asked about for a while.

    Args:
        most: conversations.
        bytes: of their states, together.
        seconds: since a conversation was last used.

    Raises `InputError` for numbers that mean nothing.
    """

    most: int = 1000
    bytes: int = 1 << 30
    seconds: float = 3600.0

    def __post_init__(self) -> None:
        if self.most < 0 or self.bytes < 0 or not self.seconds > 0:
            raise InputError(
                f"conversations are kept up to a number and bytes of 0 or more, and for more than 0 seconds, not {self}"
            )


@dataclass(frozen=True)
class Kept:
    """Where a conversation stopped; see `inn.server.streams.Stream`."""

    state: State
    pending: int | None
    logits: Tensor
    decoder: Decoder
    used: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return self.state.bytes + self.logits.numel() * self.logits.element_size()


class Conversations:
    """States by name, within limits; of one thread.

    >>> Conversations(Keep(most=2)).take("nobody") is None
    True
    """

    def __init__(self, keep: Keep, clock: Callable[[], float] = time.monotonic):
        self.keep, self.clock = keep, clock
        self.dropped = self.bytes = 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()  # the least recently used first

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, name: str) -> Kept | None:
        """What is kept under a name, which is then not kept any longer; None where nothing is."""
        self.forget()
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.bytes -= kept.size
        return kept

    def put(self, name: str, kept: Kept) -> None:
        """Keep it, and drop what is then too much: itself at last, where it alone is more than may be kept."""
        if (old := self._kept.pop(name, None)) is not None:
            self.bytes -= old.size
        self._kept[name] = kept
        self.bytes += kept.size
        self.forget()

    def forget(self) -> None:
        """Drop what has not been used for too long, and what is too much."""
        oldest = self.clock() - self.keep.seconds
        while self._kept:
            first = next(iter(self._kept.values()))
            if len(self) <= self.keep.most and self.bytes <= self.keep.bytes and first.used >= oldest:
                return
            _, gone = self._kept.popitem(last=False)
            self.bytes -= gone.size
            self.dropped += 1
