"""The options of the parallel spiking memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.checks import check_at_least
from inn.config.parts import Options


@dataclass
class PSNOptions(Options):
    """Spiking units without a reset, whose potential is a learned sum of their last inputs (Fang et al. 2023)."""

    expand: int = 2
    """Spiking units per unit of width (H = expand x width)."""
    window: int = 8
    """Steps that a potential is summed over, the present one among them."""
    threshold: float = 0.5
    """Potential from which a unit fires."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "expand")
        check_at_least(self, 2, "window")
