"""The options of LSTM memories."""

from __future__ import annotations

from dataclasses import dataclass

from inn.nn.memory.options.recurrent import RecurrentOptions


@dataclass
class LSTMOptions(RecurrentOptions):
    """A recurrence with an input, a forget and an output gate."""

    forget: float = 1.0
    """Bias of the forget gate at the start; above zero the memory starts by keeping what it has."""
