"""A workspace: one vector made of all neurons, which all of them hear at the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inn.nn.population import NeuronLinear, neuron_map
from inn.nn.routing.base import Parts, Router, emitted, starts_silent
from inn.nn.routing.options import WorkspaceOptions
from inn.nn.topology.edges import Edges
from inn.ops import neighbour_sum
from inn.ops.tensors import shares

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape


class Workspace(Router):
    """w = tanh(A Σ_j a_j V y_j), a = softmax_j(q · y_j) head by head; every neuron hears P w, and P starts at zero.

    The query q is learned and the same for all who listen, so that the complete graph has one vector; along the edges
    of a topology, or with a lesion, each neuron's is made of those that it hears.
    """

    Options = WorkspaceOptions
    exchangeable = True
    takes_log_weights = True

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        W, self.heads = config.router.workspace_width, config.router.heads
        self.score = NeuronLinear(config.populations, config.width, self.heads)
        self.value = neuron_map(config, config.width, W, bias=True)
        self.mix = NeuronLinear(1, W, W, bias=True)
        self.out = NeuronLinear(config.populations, W, config.width, zero=starts_silent(config))

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
        present: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        scores, v = self.score(x).float(), emitted(self.value(x), gate).unflatten(-1, (self.heads, -1))
        listed = self.sparse and edges is not None
        if listed:
            assert edges is not None
            open_edges, scores = edges.open, scores[:, :, edges.sources]  # [N, K], [B, T, N, K, H]
            scores = scores if edges.log_weights is None else scores + edges.log_weights[..., None]
            there = None if present is None else present[:, :, edges.sources]
        else:
            open_edges = None if edges is None else edges.dense()
            scores = scores[:, :, None]
            there = None if present is None else present[:, :, None]
        known = there if open_edges is None else open_edges if there is None else open_edges & there
        weights = scores.softmax(-2) if known is None else shares(scores, known[..., None], -2)  # [B, T, N or 1, K, H]
        rows = weights.movedim(-1, 2)  # [B, T, H, N or 1, K]
        if listed and edges is not None:
            rows = rows if edges.signs is None else rows * edges.signs
            vector = neighbour_sum(v, rows.to(v.dtype), edges.sources, edges.open)
        else:
            every = v[:, :, None].expand(*weights.shape, -1)
            vector = torch.einsum("btikh,btikhd->btihd", weights.to(v.dtype), every)
        if tape is not None and tape.wants("routing"):
            tape.add_routing(rows.expand(-1, -1, -1, self.neurons, -1), edges if listed else None)
        told = torch.tanh(self.mix(vector.flatten(-2)))
        return self.out(told.expand(-1, -1, self.neurons, -1)), {}

    def flops(self) -> dict[str, float]:
        readers = self.neurons if self.sparse else 1
        maps = self.score.flops(self.neurons) + self.value.flops(self.neurons) + self.out.flops(self.neurons)
        width = self.mix.weight.shape[1]
        return {
            "routing.matrices": maps + self.mix.flops(readers),
            "routing.messages": 2.0 * readers * self.degree * width,
        }
