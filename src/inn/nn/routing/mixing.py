"""A learned N x N matrix, the same for every input: communication without selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.routing.base import EdgeWeights, Parts, WeightedRouter
from inn.nn.routing.options import MixingOptions
from inn.nn.topology.base import edges_of
from inn.nn.topology.edges import Edges
from inn.ops import neighbour_sum

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape


class Mixing(WeightedRouter):
    """Weights w_ij are parameters, 1/N at the start; they may be negative and their rows sum to anything.

    Where the topology names classes of edges, those of a class share one weight. The weight of a class with a sign is
    clamped to that half when it is used, to [0, ∞) or to (-∞, 0] (after arXiv 2201.05242): beyond 0 it has no gradient.
    """

    mass = None
    Options = MixingOptions
    learns_edges = takes_lags = takes_classes = True

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        edges, self.start = edges_of(config), config.router.class_start
        limits = None if edges is None else edges.limits
        self.limits: list[int] | None = None if limits is None else limits.tolist()
        shape = (config.neurons, self.degree) if limits is None else (len(limits),)
        self.weights = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        if self.limits is None:
            nn.init.constant_(self.weights, 1 / self.degree)
            return
        signs = torch.tensor(self.limits, dtype=self.weights.dtype, device=self.weights.device)
        if self.start == "one":
            self.weights.copy_(torch.where(signs < 0, -1.0, 1.0))
        else:
            drawn = 2 * torch.rand_like(signs) - 1
            self.weights.copy_(torch.where(signs == 0, drawn, signs * drawn.abs()))

    def of_edges(self, edges: Edges) -> Tensor:
        """The weights of listed edges `[N, K]`, those of a class within the half that its sign allows."""
        if edges.classes is None or edges.limits is None:
            return self.weights
        w, limits = self.weights, edges.limits
        held = torch.where(limits > 0, w.clamp_min(0), torch.where(limits < 0, w.clamp_max(0), w))
        return held[edges.classes]

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
        v, after = self.values(x, gate), {}
        if self.sparse and edges is not None:
            weights = self.of_edges(edges) * edges.factors(self.weights.dtype)
            v, _, along, after = self.late(v, state, edges, None, reset, mask)
            assert along is not None
            message = neighbour_sum(v, weights, along.sources, along.open)
        else:
            weights = self.weights if edges is None else self.weights * edges.matrix(self.weights.dtype)
            message = torch.einsum("ij,btjd->btid", weights.to(v.dtype), v)
        if tape is not None:
            tape.add_routing(weights.expand(*x.shape[:2], 1, -1, -1), edges if self.sparse else None)
        return self.out(message), after

    def sent(self, x: Tensor, gate: Tensor | None) -> Tensor:
        return self.values(x, gate)

    def edge_weights(self) -> list[EdgeWeights]:
        return [(self.weights, lambda t: t)] if self.limits is None else []
