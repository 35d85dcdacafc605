"""Attention over the neurons of one time step (arXiv 2511.22813, equation 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.population import bare, linear, neuron_map, no_decay
from inn.nn.routing.base import Parts, WeightedRouter, emitted
from inn.nn.routing.edges import Edges
from inn.ops import neuron_attention

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape


class Attention(WeightedRouter):
    """Multi-head attention: neuron i weighs neuron j by softmax_j(q_i · k_j / √d), head by head.

    `qk_norm` divides queries and keys by their root mean square and gives them a learned gain, so that no logit
    can run away.
    """

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.heads, self.dropout = config.heads, config.routing_dropout
        self.query = neuron_map(config, config.width, config.width, bias=True)
        self.key = neuron_map(config, config.width, config.width, bias=True)
        gain = (config.populations, config.width // config.heads)
        self.query_gain = no_decay(nn.Parameter(torch.ones(gain))) if config.qk_norm else None
        self.key_gain = no_decay(nn.Parameter(torch.ones(gain))) if config.qk_norm else None

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
        maps = (self.query, self.key, self.value)
        if x.shape[1] == 1 or not bare(*maps):
            q, k, v = (m(x) for m in maps)
        else:  # one pass over x for all three; for a single step, putting the weights together would cost more
            weight, bias = torch.cat([m.weight for m in maps], 1), torch.cat([m.bias for m in maps], 1)  # type: ignore[misc]
            q, k, v = linear(x, weight, bias, 3 * (x.shape[-1],))
        v = emitted(v, gate)
        q, k, v = (a.unflatten(-1, (self.heads, -1)) for a in (q, k, v))  # [B, T, N, H, d]
        if self.query_gain is not None and self.key_gain is not None:
            q = F.rms_norm(q, q.shape[-1:]) * self.query_gain[:, None].to(q.dtype)
            k = F.rms_norm(k, k.shape[-1:]) * self.key_gain[:, None].to(k.dtype)
        open_edges = None if edges is None else edges.dense()
        look = tape is not None and tape.wants("routing")
        heard, weights = neuron_attention(q, k, v, open_edges, self.dropout if self.training else 0.0, look)
        if tape is not None and weights is not None:
            tape.add("routing", weights)
        return self.out(heard.flatten(-2)), {}

    def flops(self) -> dict[str, float]:
        parts = super().flops()
        parts["routing.matrices"] += self.query.flops(self.neurons) + self.key.flops(self.neurons)
        parts["routing.messages"] *= 2  # scores and sums
        return parts
