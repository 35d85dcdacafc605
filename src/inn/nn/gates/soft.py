"""A neuron's decision to emit at a time step ("knowing when to activate", arXiv 2511.22813, abstract)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.gates.base import Gate, mean_of
from inn.nn.gates.options import HardOptions, SoftOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Soft(Gate):
    """g = σ(w · x + b) for every neuron and step, a factor on what the neuron sends.

    Neurons begin talkative: w = 0, b = 2.
    """

    no_decay = ("bias",)
    Options = SoftOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.neurons = config.neurons
        self.weight = nn.Parameter(torch.empty(config.populations, config.width))
        self.bias = nn.Parameter(torch.empty(config.populations))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, 2.0)

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[None, Tensor, dict[str, Tensor]]:
        g = torch.sigmoid((x * self.weight.to(x.dtype)).sum(-1) + self.bias)
        return None, self.emitted(g), {"gate": mean_of(g, mask, present)}

    def flops(self) -> dict[str, float]:
        return {"gate": 2.0 * self.neurons * self.weight.shape[1]}

    def emitted(self, g: Tensor) -> Tensor:
        """The factor that a gate g stands for."""
        return g


class Hard(Soft):
    """1[g > ½] of the soft gate's g, whose gradient passes (straight-through)."""

    Options = HardOptions

    def emitted(self, g: Tensor) -> Tensor:
        return (g > 0.5).to(g) + (g - g.detach())
