"""Bounds: a neuron's numbers are kept within them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from inn.nn.inner.base import InnerMap
from inn.nn.inner.options import ClipOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Clip(InnerMap):
    """clip(x) - x, which is added to x: a neuron leaves a round with numbers from `lower` to `upper`.

    It has no parameters, and a number that is out of bounds has no gradient.
    """

    Options = ClipOptions
    normed = False

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.lower, self.upper = config.inner.lower, config.inner.upper

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.lower, self.upper) - x

    def clamped(self, x: Tensor) -> Tensor:
        return ((x < self.lower) | (x > self.upper)).to(x.dtype).mean(-1)

    def flops(self) -> dict[str, float]:
        return {}
