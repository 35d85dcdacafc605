"""The options of neurons without a memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class NoneOptions(Options):
    """No memory: a gated map of what comes in at this step."""

    expand: int = 2
    """Hidden units of the map per unit of width (E = expand x width); 0: no map, nothing is recalled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "expand")

    def check(self, graph: Any) -> None:
        if not self.expand and graph.into_memory:
            raise InputError(
                f"memory 'none' with expand 0 takes nothing in, and router '{graph.router.kind}' leads into it; use a "
                "router whose messages come after the memory, as mixing"
            )
