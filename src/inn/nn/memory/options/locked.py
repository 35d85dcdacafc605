"""The options of the locked memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.checks import check_at_least
from inn.nn.memory.options.recurrent import RecurrentOptions
from inn.system.errors import InputError


@dataclass
class LockedOptions(RecurrentOptions):
    """A GRU that keeps what was written: no recurrent weights, and an update gate that starts closed."""

    closed: float = 2.0
    """Where the update gate starts: at every step it keeps σ(closed) of what is there, and takes in the rest."""
    exact: float = 0.95
    """A gate that would keep more than this keeps all and is shut; 1: an ordinary gate, which always leaks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "exact")
        if self.exact > 1:
            raise InputError(f"exact must be at most 1, not {self.exact}")
