"""A recurrent highway network as the memory of a neuron (Zilly et al. 2017, arXiv 1607.03474)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.memory.options.rhn import RHNOptions
from inn.nn.memory.recurrent import RecurrentMemory

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class RHN(RecurrentMemory):
    """A deep transition: at every step the state passes L layers, each of which may carry it through.

    State part: `h` `[B, N, H]`. What comes in joins the first layer only; `bias` is `[P, L, 2 H]`, `heard`
    `[P, L, 2 H, H]`.
    """

    Options = RHNOptions
    cell = "rhn"
    gates = 2

    def make(self, config: GraphConfig) -> None:
        P, L, size = config.populations, config.memory.depth, self.gates * self.units
        self.bias = nn.Parameter(torch.empty(P, L, size))
        self.heard = nn.Parameter(torch.empty(P, L, size, self.units))

    def weights(self) -> tuple[Tensor, ...]:
        return self.heard, self.bias

    def taken(self, x: Tensor) -> Tensor:
        return x  # each layer adds its own bias
