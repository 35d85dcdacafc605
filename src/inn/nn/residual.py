"""How a round puts what a neuron recalls, or hears, to what it was: added, scaled, or by a gate that sees both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.population import neuron_map

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig

FIRST_GATE = -1.0
"""Where the bias of a gate starts: more is kept than taken, or the gate closes on what came in."""


class LearnedResidual(nn.Module):
    """x + σ(a) y, with a vector a for each neuron (one for all where weights are shared); a starts at 0.

    Where a is large it is x + y.
    """

    no_decay = ("rate",)

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.neurons = config.neurons
        self.rate = nn.Parameter(torch.empty(config.populations, config.width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.rate)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """What was `x` and is new `y`, both `[B, T, N, D]` -> the same."""
        return x + self.rate.sigmoid().to(y.dtype) * y

    def flops(self) -> dict[str, float]:
        return {"residual": 1.0 * self.neurons * self.rate.shape[1]}


class GatedResidual(nn.Module):
    """(1 - z) x + z y, with a gate for each number that sees both: z = σ(W [x, y] + b), b from -1 on."""

    no_decay = ("bias",)

    def __init__(self, config: GraphConfig):
        super().__init__()
        D, self.neurons = config.width, config.neurons
        self.old, self.new = (neuron_map(config, D, D) for _ in range(2))
        self.bias = nn.Parameter(torch.empty(config.populations, D))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.bias, FIRST_GATE)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """What was `x` and is new `y`, both `[B, T, N, D]` -> the same."""
        z = self.old(x) + self.new(y)
        return x + (z + self.bias.to(z.dtype)).sigmoid() * (y - x)

    def flops(self) -> dict[str, float]:
        maps = self.old.flops(self.neurons) + self.new.flops(self.neurons)
        return {"residual": maps + 4.0 * self.neurons * self.bias.shape[1]}


Residual = LearnedResidual | GatedResidual | None
"""A combination; None for plain addition."""


def residual(config: GraphConfig) -> Residual:
    """The residual combination that `config.residual` names; None for plain addition."""
    kind = {"learned": LearnedResidual, "input": GatedResidual}.get(config.residual)
    return None if kind is None else kind(config)
