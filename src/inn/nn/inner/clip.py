"""Bounds: a neuron's numbers are kept within them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from inn.nn.inner.base import InnerMap
from inn.nn.inner.options import ClipOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Clip(InnerMap):
    """clip(x) - x, which is added to x: a neuron leaves a round with numbers from `low` to `high`.

    It has no parameters, and a number that is out of bounds has no gradient.
    """

    Options = ClipOptions
    normed = False

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.low, self.high = config.inner.low, config.inner.high

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high) - x

    def clamped(self, x: Tensor) -> Tensor:
        return ((x < self.low) | (x > self.high)).to(x.dtype).mean(-1)

    def flops(self) -> dict[str, float]:
        return {}
