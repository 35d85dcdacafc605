"""Dendrites: every neuron hears every other through a matrix of its own, and what it hears is what it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from inn.nn.population import CommunalLinear, linear, neuron_map
from inn.nn.routing.base import Parts, Router, emitted
from inn.nn.routing.edges import Edges

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape


class Dendrites(Router):
    """Neuron i hears Σ_j R_ij x_j, with a matrix R_ij per edge, in place of its memory's own in-projection.

    Communication comes before memory: all of a neuron's inputs, its own among them, meet where its memory takes them
    in. So the neurons share what they know without a vote or an average, while each keeps its own state, its own
    selection of what to write and read, and its own output. The routing weight of an edge is the size of what went
    over it, ‖R_ij x_j‖, so rows have no fixed sum. Readers have their own matrices even where other weights are shared.
    """

    mass = None
    into_memory = True

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.hear = neuron_map(config, config.neurons * config.width, config.memory_inputs, own=True)

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
        x = emitted(x, gate)
        if edges is None and tape is None:
            return self.hear(everyone(x)), {}
        weight = self.hear.weight  # [N, I, N x D]
        if edges is not None:
            open_edges = edges.dense()[:, None, :, None].to(weight.dtype)
            weight = (weight.unflatten(2, (self.neurons, -1)) * open_edges).flatten(2)
        if tape is not None:
            tape.add_sizes(x, weight.unflatten(2, (self.neurons, -1)))
        return linear(everyone(x), weight)[0], {}

    def flops(self) -> dict[str, float]:
        if isinstance(self.hear, CommunalLinear):
            return {"routing.messages": self.hear.flops(self.neurons, readers=1)}
        return {"routing.messages": self.hear.flops(self.neurons)}


def everyone(x: Tensor) -> Tensor:
    """All neurons side by side, one input for each of them: `[B, T, N, D]` -> `[B, T, 1, N x D]`."""
    return x.flatten(2)[:, :, None]
