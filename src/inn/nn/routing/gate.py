"""A neuron's decision to emit at a time step ("knowing when to activate", arXiv 2511.22813, abstract)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Gate(nn.Module):
    """g = σ(w · x + b) for every neuron and step, a factor on what the neuron sends.

    `hard` emits 1[g > ½] and lets the gradient of g pass (straight-through). Neurons begin talkative: w = 0, b = 2.
    """

    no_decay = ("bias",)

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.hard = config.gate == "hard"
        self.weight = nn.Parameter(torch.empty(config.populations, config.width))
        self.bias = nn.Parameter(torch.empty(config.populations))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, 2.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return, for normed neurons `x` `[B, T, N, D]`, the factor to apply and g itself, both `[B, T, N]`."""
        g = torch.sigmoid((x * self.weight.to(x.dtype)).sum(-1) + self.bias)
        return ((g > 0.5).to(g) + (g - g.detach()) if self.hard else g), g
