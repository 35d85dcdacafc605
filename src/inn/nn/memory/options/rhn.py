"""The options of the recurrent highway memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.checks import check_at_least
from inn.nn.memory.options.recurrent import RecurrentOptions


@dataclass
class RHNOptions(RecurrentOptions):
    """A recurrent highway network: several layers within one step."""

    depth: int = 2
    """Layers that the state passes within a step (L)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "depth")
