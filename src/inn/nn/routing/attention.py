"""Attention over the neurons of one time step (arXiv 2511.22813, equation 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.direct import untouched
from inn.nn.population import NeuronLinear, linear, neuron_map
from inn.nn.routing.activations import Activation, attend, over_learned
from inn.nn.routing.base import Parts, WeightedRouter, emitted
from inn.nn.routing.options import AttentionOptions
from inn.nn.topology.base import learned
from inn.nn.topology.edges import Edges
from inn.ops import neighbour_attention, neuron_attention, packed_attention
from inn.ops.tensors import autocasts
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.packing import Packed
    from inn.nn.tape import RoundTape


class Attention(WeightedRouter):
    """Multi-head attention: neuron i weighs neuron j by softmax_j(q_i · k_j / √d), head by head.

    `qk_norm` divides queries and keys by their root mean square and gives them a learned gain, so that no logit
    can run away. With another `activation`, or with a `sink`, the weights are those of `inn.nn.routing.activations`,
    and their rows sum to what they may.
    """

    Options = AttentionOptions
    exchangeable = True
    takes_log_weights = learns_edges = takes_lags = True
    no_decay = ("query_gain", "key_gain")

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        own: AttentionOptions = config.router
        self.heads, self.dropout = own.heads, own.routing_dropout
        self.query = neuron_map(config, config.width, config.width, bias=True)
        self.key = neuron_map(config, config.width, config.width, bias=True)
        gain = (config.populations, config.width // own.heads)
        self.query_gain = nn.Parameter(torch.empty(gain)) if own.qk_norm else None
        self.key_gain = nn.Parameter(torch.empty(gain)) if own.qk_norm else None
        self.activation = None
        if own.activation in ("stick", "fourier") and learned(config):
            raise InputError(
                f"topology '{config.topology.kind}' learns its edges, and attention by '{own.activation}' gives closed "
                "ones no gradient; use activation softmax, sigmoid or relu2"
            )
        if own.activation != "softmax" or own.sink:
            self.activation = Activation(own, self.degree)
            self.mass, self.exchangeable = None, False
        maps = (self.query, self.key, self.value, self.out)
        plain = not self.sparse and self.activation is None and not learned(config)
        self.skips = plain and all(isinstance(m, NeuronLinear) for m in maps)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for gain in (self.query_gain, self.key_gain):
            if gain is not None:
                nn.init.ones_(gain)

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
        maps = (self.query, self.key, self.value)
        if x.shape[1] == 1 or not all(isinstance(m, NeuronLinear) and untouched(m) for m in maps):
            q, k, v = (m(x) for m in maps)
        else:  # one pass over x for all three; for a single step, putting the weights together would cost more
            weight, bias = torch.cat([m.weight for m in maps], 1), torch.cat([m.bias for m in maps], 1)  # type: ignore[misc]
            q, k, v = linear(x, weight, bias, 3 * (x.shape[-1],))
        v = emitted(v, gate)
        q, k, v = (a.unflatten(-1, (self.heads, -1)) for a in (q, k, v))  # [B, T, N, H, d]
        if self.query_gain is not None and self.key_gain is not None:
            q = F.rms_norm(q, q.shape[-1:]) * self.query_gain[:, None].to(q.dtype)
            k = F.rms_norm(k, k.shape[-1:]) * self.key_gain[:, None].to(k.dtype)
        along, after = edges, {}
        if self.lags:
            sent = torch.cat((k.flatten(3), v.flatten(3)), -1)
            sent, present, along, after = self.late(sent, state, edges, present, reset, mask)
            k, v = (a.unflatten(-1, (self.heads, -1)) for a in sent.chunk(2, -1))
        dropout, look = self.dropout if self.training else 0.0, tape is not None and tape.wants("routing")
        if self.activation is not None:
            message, weights = attend(q, k, v, self.activation, edges, along, self.sparse, dropout, present)
        elif self.sparse and edges is not None:
            assert along is not None
            listed = (along.sources, edges.open, edges.signs, edges.log_weights)
            message, weights = neighbour_attention(q, k, v, *listed, present, dropout, look)
            if weights is not None and edges.signs is not None:
                weights = weights * edges.signs
        elif edges is not None and edges.log_weights is not None:
            message, weights = _over_learned(q, k, v, edges, edges.log_weights, dropout, present)
        else:
            dense = None if edges is None else edges.dense()
            message, weights = neuron_attention(q, k, v, dense, dropout, look)
            if present is not None:  # the kernels know no edges by step; what they give stays where all are there
                heard_from = present[:, :, None].expand(-1, -1, self.neurons, -1)
                heard_from = heard_from if dense is None else heard_from & dense
                some, rows = neuron_attention(q, k, v, heard_from, dropout, look)
                whole = present.all(2)[..., None, None, None]
                message = torch.where(whole, message, some)
                weights = None if weights is None or rows is None else torch.where(whole, weights, rows)
        if tape is not None and weights is not None:
            tape.add_routing(weights, edges if self.sparse else None)
        return self.out(message.flatten(-2)), after

    def carries(self) -> int:
        return 2 * self.width

    def packs(self, x: Tensor, edges: Edges | None) -> bool:
        return self.skips and edges is None and not autocasts(x) and untouched(self)

    def of_rows(self, x: Tensor, rows: Packed, edges: Edges | None) -> Tensor:
        maps = (self.query, self.key, self.value)
        weight, bias = torch.cat([m.weight for m in maps], 1), torch.cat([m.bias for m in maps], 1)  # type: ignore[misc]
        q, k, v = rows.map(x, weight, bias).unflatten(1, (3, self.heads, -1)).unbind(1)
        if self.query_gain is not None and self.key_gain is not None:
            q, k = (
                rows.scaled(F.rms_norm(t, t.shape[-1:]), gain) for t, gain in ((q, self.query_gain), (k, self.key_gain))
            )
        message = packed_attention(q, k, v, *rows.meetings, self.dropout if self.training else 0.0)
        return rows.through(self.out, message.flatten(1))

    def flops(self) -> dict[str, float]:
        parts = super().flops()
        parts["routing.matrices"] += self.query.flops(self.neurons) + self.key.flops(self.neurons)
        parts["routing.messages"] *= 2  # scores and sums
        if self.activation is not None:
            parts["routing.messages"] += self.activation.flops(self.neurons)
        return parts


def _over_learned(
    q: Tensor, k: Tensor, v: Tensor, edges: Edges, log_weights: Tensor, dropout: float, present: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Attention along learned edges, K = N: the message `[B, T, N, H, d]`, and the weights `[B, T, H, N, N]`."""
    q, k, v = (a.transpose(2, 3) for a in (q, k, v))
    scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).float() + log_weights
    is_open = edges.open if present is None else (edges.open & present[:, :, None])[:, :, None]
    weights = over_learned(scores, is_open, log_weights)
    dropped = F.dropout(weights, dropout) if dropout else weights
    return (dropped.to(v.dtype) @ v).transpose(2, 3), weights
