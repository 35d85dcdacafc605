"""Hourglass: residual blocks that are narrow inside and wide outside (after arXiv 2510.01796)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.inner.base import InnerMap
from inn.nn.inner.options import HourglassOptions
from inn.nn.population import NeuronLinear

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Hourglass(InnerMap):
    """z = W_in x; in every block z ← z + W₂ σ(W₁ z) through a bottleneck; W_out z, which starts at zero.

    A usual network is narrow between its blocks and wide inside them. W_in may stay as it was drawn (`frozen`): it then
    is a parameter that asks for no gradient, counted as the others are.
    """

    Options = HourglassOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.neurons, P, D = config.neurons, config.populations, config.width
        own: HourglassOptions = config.inner
        wide, narrow = own.widths(D)
        self.lift = NeuronLinear(P, D, wide)
        self.lift.weight.requires_grad_(not own.frozen)
        self.narrow = nn.ModuleList(NeuronLinear(P, wide, narrow, bias=True) for _ in range(own.blocks))
        self.widen = nn.ModuleList(NeuronLinear(P, narrow, wide) for _ in range(own.blocks))
        self.out = NeuronLinear(P, wide, D, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        z = self.lift(x)
        for narrow, widen in zip(self.narrow, self.widen):
            z = z + widen(F.gelu(narrow(z)))
        return self.out(z)

    def flops(self) -> dict[str, float]:
        maps = [self.lift, *self.narrow, *self.widen, self.out]
        return {"inner.matrices": sum(m.flops(self.neurons) for m in maps)}  # type: ignore[operator]
