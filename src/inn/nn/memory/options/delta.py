"""The options of the delta memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.checks import check_at_least
from inn.nn.memory.options.heads import HeadsOptions


@dataclass
class DeltaOptions(HeadsOptions):
    """The delta memory inside a neuron (Yang et al. 2024): its sizes, and what its state transitions may be."""

    negative: bool = True
    """β from 0 to 2, so that a transition can flip a direction (eigenvalue -1), which parity needs; false: to 1."""
    forget: bool = True
    """A decay α per head and step, which forgets; false: only writing replaces."""
    products: int = 1
    """Writes at each step, one after another; with two or more a transition can rotate (DeltaProduct)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "products")
