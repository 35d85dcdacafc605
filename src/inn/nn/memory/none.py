"""A neuron without memory: what it says depends on this step alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.options.none import NoneOptions
from inn.nn.population import NeuronLinear, flops_of, neuron_map

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class NoMemory(Memory):
    """A gated feed-forward map, W (u silu(z)): a Mamba memory without convolution and scan; zeros with `expand` 0.

    It has no state.
    """

    Options = NoneOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        E = config.memory.expand * config.width
        self.in_proj = None if config.into_memory or not E else neuron_map(config, config.width, 2 * E)
        self.out_proj = NeuronLinear(config.populations, E, config.width) if E else None

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        """Signal and gate: two numbers for every hidden unit."""
        return 2 * config.memory.expand * config.width

    def initial_state(self, batch: int) -> Parts:
        return {}

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        if self.out_proj is None:
            return torch.zeros_like(x), {}
        x = x if self.in_proj is None else self.in_proj(x)
        u, z = x.chunk(2, -1)
        return self.out_proj(u * F.silu(z)), {}

    def flops(self) -> dict[str, float]:
        return {"memory.matrices": flops_of(self.neurons, self.in_proj, self.out_proj)}
