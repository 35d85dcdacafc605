"""The options of spiking memories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class SpikingOptions(Options):
    """Units that say nothing but whether they fire."""

    expand: int = 2
    """Spiking units per unit of width (H = expand x width)."""
    threshold: float = 0.5
    """Potential from which a unit fires; the current of a step is about as large at the start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "expand")
        if self.threshold <= 0:
            raise InputError(f"threshold must be above 0, not {self.threshold}: a unit at rest would fire")


@dataclass
class LIFOptions(SpikingOptions):
    """Leaky integrate-and-fire units."""

    tau: float | None = 2.0
    """Time constant of the potential in steps, at least 1; null: it does not leak (integrate and fire)."""
    reset: Literal["hard", "soft"] = "hard"
    """What a spike does to the potential: `hard` sets it to zero, `soft` takes the threshold off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "tau")


@dataclass
class PLIFOptions(SpikingOptions):
    """Leaky integrate-and-fire units that learn their time constants."""

    tau: float = 2.0
    """Time constant of the potential at the start, in steps, above 1; learned, one per unit."""
    reset: Literal["hard", "soft"] = "hard"
    """What a spike does to the potential: `hard` sets it to zero, `soft` takes the threshold off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau <= 1:
            raise InputError(f"tau must be above 1 step, not {self.tau}: nothing would be left to learn it from")


@dataclass
class PSNOptions(SpikingOptions):
    """Spiking units without a reset, whose potential is a learned sum of their last currents."""

    window: int = 8
    """Steps that a potential is summed over, the present one among them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "window")
