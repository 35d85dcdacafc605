"""The options of memories whose state is a matrix per head: `delta`, `mamba2`, `complex`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class HeadsOptions(Options):
    """What memories with a matrix per head have in common: its sizes and initial time constants."""

    state: int = 16
    """Numbers of a key, by which a head writes and reads (K): rows of its state."""
    heads: int = 1
    """Heads of a neuron (H), which share its values out among them; each has a decay of its own."""
    expand: int = 2
    """Values of the memory per unit of width (E = expand x width)."""
    conv: int = 4
    """Taps of the memory's causal convolution; 1 looks at the present only."""
    dt_min: float = 1e-3
    """Smallest step size at the start; a head's time constant is 1 / (dt x rate), its rate from 1 to 16."""
    dt_max: float = 1e-1
    """Largest step size at the start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "state", "heads", "expand", "conv")
        if not 0 < self.dt_min <= self.dt_max:
            raise InputError(f"dt_min ({self.dt_min}) must be above 0 and not above dt_max ({self.dt_max})")

    def check(self, graph: Any) -> None:
        values = self.values(graph.width)
        if values % self.heads:
            raise InputError(f"heads must divide the {values} values of a neuron, not {self.heads}")

    def values(self, width: int) -> int:
        """Values of a memory, E = expand x width."""
        return self.expand * width
