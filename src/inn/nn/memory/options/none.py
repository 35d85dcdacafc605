"""The options of neurons without a memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.checks import check_at_least
from inn.config.parts import Options


@dataclass
class NoneOptions(Options):
    """No memory: a gated map of what comes in at this step."""

    expand: int = 2
    """Hidden units of the map per unit of width (E = expand x width)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "expand")
