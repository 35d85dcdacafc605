"""The options of the objectives that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class RewireOptions(Options):
    """Predict, and every so often let weak edges of topology `rewired` go and others grow (after arXiv 2508.14140)."""

    every: int = 100
    """Steps from one rewiring to the next."""
    share: float = 0.1
    """Share of the edges between neurons that go at a rewiring, the weakest; as many grow, at the same neurons."""
    grow: Literal["gradient", "hebb", "random"] = "gradient"
    """The edges that grow: those whose weights have the largest gradients over the batch; those of the largest cosine
    between what one neuron sends and the other hears; or any."""
    until: float = 0.75
    """Share of the run's steps after which edges stay."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "every")
        for name in ("share", "until"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} must be in (0, 1], not {getattr(self, name)}")
