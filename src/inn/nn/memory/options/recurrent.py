"""The options that recurrent memories have in common."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class RecurrentOptions(Options):
    """A non-linear recurrence of each neuron."""

    expand: int = 1
    """Numbers of the hidden state per unit of width (H = expand x width); above 1 an out-projection leads back."""
    attend: int = 0
    """Its own last steps, this one included, that each neuron attends to, with a bias for each age; 0: it does not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "expand")
        if self.attend != 0 and self.attend < 2:
            raise InputError(f"attend must be 0 (off) or at least 2 steps, not {self.attend}")

    def units(self, width: int) -> int:
        """Numbers of a neuron's hidden state, H."""
        return self.expand * width
