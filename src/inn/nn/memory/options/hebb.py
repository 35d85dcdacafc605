"""The options of the associative memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class HebbOptions(Options):
    """A matrix of associations: what was written with a key is read by it, and fades."""

    keys: int | None = None
    """Numbers of a key, and of what it recalls (S); the width by default."""
    keep: float = 0.98
    """What a step leaves of the matrix at the start, in (0, 1); learned, one number per neuron."""
    settle: int = 0
    """Times that a neuron reads again, by the signs of what it has read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "keys")
        check_at_least(self, 0, "settle")
        if not 0 < self.keep < 1:
            raise InputError(f"keep must be above 0 and below 1, not {self.keep}")

    def size(self, width: int) -> int:
        """Numbers of a key."""
        return self.keys or width
