"""A gated bus: every neuron writes a few numbers, every neuron reads all of them through its own matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.population import messages, neuron_map
from inn.nn.routing.base import EdgeWeights, Parts, Router, emitted, starts_silent
from inn.nn.routing.options import BusOptions
from inn.nn.topology.edges import Edges

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape


class Bus(Router):
    """Neuron j writes w_j = σ(G x_j) ⊙ (W x_j), m numbers; neuron i hears Σ_j R_ij w_j with a matrix R_ij per edge.

    Messages are not averages: what a reader takes from each writer is free. The routing weight of an edge is the
    size of what went over it, ‖R_ij w_j‖, so rows have no fixed sum. Readers have their own matrices even where
    the other weights are shared.
    """

    mass = None
    learns_edges = takes_lags = True
    Options = BusOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        N, D, m, K = config.neurons, config.width, config.router.bus_width, self.degree
        self.write = neuron_map(config, D, m, bias=True)
        self.write_gate = neuron_map(config, D, m, bias=True)
        self.bound = 0.0 if starts_silent(config) else 1 / math.sqrt(K * m)
        self.read = nn.Parameter(torch.empty(N, D, K, m))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.read, -self.bound, self.bound)

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
        written = self.sent(x, gate)
        if self.sparse and edges is not None:
            read = self.read.to(written.dtype)
            written, _, along, after = self.late(written, state, edges, None, reset, mask)
            assert along is not None
            if tape is not None:
                tape.add_sizes(written, read, edges, along.sources)
            return messages(written, read.flatten(2), along.sources, along.open, along.signs), after
        read = self.read if edges is None else self.read * edges.matrix(self.read.dtype)[:, None, :, None]
        read = read.to(written.dtype)
        if tape is not None:
            tape.add_sizes(written, read)
        message = written.flatten(2) @ read.flatten(2).flatten(0, 1).T  # one product for all readers
        return message.unflatten(-1, (self.neurons, -1)), {}

    def carries(self) -> int:
        return self.read.shape[-1]

    def sent(self, x: Tensor, gate: Tensor | None) -> Tensor:
        return emitted(torch.sigmoid(self.write_gate(x)) * self.write(x), gate)  # [B, T, N, m]

    def edge_weights(self) -> list[EdgeWeights]:
        return [(self.read, lambda t: t.transpose(1, 2))]

    def flops(self) -> dict[str, float]:
        return {
            "routing.matrices": self.write.flops(self.neurons) + self.write_gate.flops(self.neurons),
            "routing.messages": 2.0 * self.read.numel(),
        }
