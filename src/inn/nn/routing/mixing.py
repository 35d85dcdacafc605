"""A learned N x N matrix, the same for every input: communication without selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.routing.base import Parts, WeightedRouter
from inn.nn.routing.edges import Edges

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape


class Mixing(WeightedRouter):
    """Weights w_ij are parameters, 1/N at the start; they may be negative and their rows sum to anything."""

    mass = None

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.weights = nn.Parameter(torch.full((config.neurons, config.neurons), 1 / config.neurons))

    def forward(
        self,
        x: Tensor,
        state: Parts | None = None,
        *,
        edges: Edges | None = None,
        gate: Tensor | None = None,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        tape: RoundTape | None = None,
    ) -> tuple[Tensor, Parts]:
        weights = self.weights if edges is None else self.weights * edges.dense()
        v = self.values(x, gate)
        if tape is not None:
            tape.add("routing", weights.expand(*x.shape[:2], 1, -1, -1))
        return self.out(torch.einsum("ij,btjd->btid", weights.to(v.dtype), v)), {}
