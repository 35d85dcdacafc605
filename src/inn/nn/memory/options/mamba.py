"""The options of the Mamba memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class MambaOptions(Options):
    """The Mamba memory inside a neuron (Gu & Dao 2023): its sizes and initial time constants."""

    state: int = 16
    """State numbers per channel of the memory (S)."""
    conv: int = 4
    """Taps of the memory's causal convolution."""
    expand: int = 2
    """Channels of the memory per unit of width (E = expand x width)."""
    dt_rank: int | None = None
    """Rank of the step-size projection; width / 16, rounded up, by default."""
    dt_min: float = 1e-3
    """Smallest step size at the start; the longest time constant is 1 / dt_min symbols."""
    dt_max: float = 1e-1
    """Largest step size at the start."""
    timescales: Literal["same", "spread"] = "same"
    """`spread`: neuron n starts in its own part of the log-range dt_min..dt_max (needs separate weights)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "state", "conv", "expand", "dt_rank")
        if not 0 < self.dt_min <= self.dt_max:
            raise InputError(f"dt_min ({self.dt_min}) must be above 0 and not above dt_max ({self.dt_max})")

    def check(self, graph: Any) -> None:
        if self.timescales == "spread" and graph.weights == "shared":
            raise InputError(
                "timescales 'spread' needs weights 'separate': shared weights have one set of time constants"
            )

    def channels(self, width: int) -> int:
        """Channels of a memory, E = expand x width."""
        return self.expand * width

    def rank(self, width: int) -> int:
        """Rank of the step-size projection."""
        return self.dt_rank or ceil(width / 16)
