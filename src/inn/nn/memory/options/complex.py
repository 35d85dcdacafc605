"""The options of the complex memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.nn.memory.options.mamba2 import Mamba2Options


@dataclass
class ComplexOptions(Mamba2Options):
    """The complex memory inside a neuron (after Mamba-3): pairs of state numbers that turn by an angle at each step."""

    dt_min: float = 0.1
    """Smallest step size at the start; a head's time constant is 1 / (dt x rate), its rate from 0.007 to 0.3."""
    dt_max: float = 1.0
    """Largest step size at the start."""
    trapezoid: bool = False
    """Each step also takes in the input of the one before, by a weight of its own (trapezoidal discretisation)."""
