"""A learned N x N matrix, the same for every input: communication without selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.routing.base import EdgeWeights, Parts, WeightedRouter
from inn.nn.topology.edges import Edges
from inn.ops import neighbour_sum

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape


class Mixing(WeightedRouter):
    """Weights w_ij are parameters, 1/N at the start; they may be negative and their rows sum to anything."""

    mass = None
    learns_edges = True

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.weights = nn.Parameter(torch.empty(config.neurons, self.degree))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weights, 1 / self.degree)

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
        v = self.values(x, gate)
        if self.sparse and edges is not None:
            weights = self.weights * edges.factors(self.weights.dtype)
            message = neighbour_sum(v, weights, edges.sources, edges.open)
        else:
            weights = self.weights if edges is None else self.weights * edges.matrix(self.weights.dtype)
            message = torch.einsum("ij,btjd->btid", weights.to(v.dtype), v)
        if tape is not None:
            tape.add_routing(weights.expand(*x.shape[:2], 1, -1, -1), edges if self.sparse else None)
        return self.out(message), {}

    def sent(self, x: Tensor, gate: Tensor | None) -> Tensor:
        return self.values(x, gate)

    def edge_weights(self) -> list[EdgeWeights]:
        return [(self.weights, lambda t: t)]
