"""The options of the locked memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.nn.memory.options.recurrent import RecurrentOptions


@dataclass
class LockedOptions(RecurrentOptions):
    """A GRU that keeps what was written: no recurrent weights, and an update gate that starts closed."""

    closed: float = 4.0
    """Where the update gate starts: it keeps σ(closed) of what is there, and takes in the rest."""
    sharpness: float = 1.0
    """Factor on what goes into the update gate: in float32 one that sees 17 or more is closed exactly."""
