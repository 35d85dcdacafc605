"""Experts: groups of neurons of which a fixed number takes part at each step, chosen by what they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inn.nn.gates.base import Gate
from inn.nn.gates.options import ExpertsOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Experts(Gate):
    """Expert e has a key k_e; at each step the `use` experts whose k_e · x is largest take part in a round.

    x are all neurons, as the round reads them. There are no parameters: who is in which expert (`of`) and the keys are
    buffers, which `inn.split` takes from what a trained model reads (after arXiv 2310.10908), and which a new model
    draws. The factor is 1, with the gradient of p = softmax(k · x), so that training moves what is chosen.
    """

    rests = True
    Options = ExpertsOptions
    of: Tensor
    keys: Tensor

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.use, self.experts, self.neurons = config.gate.use, config.gate.experts, config.neurons
        self.share = self.use / self.experts
        self.register_buffer("of", torch.empty(config.neurons, dtype=torch.long))
        self.register_buffer("keys", torch.empty(self.experts, config.neurons, config.width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.of.copy_(torch.arange(self.neurons) * self.experts // self.neurons)
        self.keys.normal_(std=self.keys[0].numel() ** -0.5)

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        kind = torch.promote_types(x.dtype, torch.float32)
        given = (x if present is None else x.masked_fill(~present[..., None], 0)).to(kind)
        p = (given.flatten(2) @ self.keys.to(kind).flatten(1).t()).softmax(-1)  # [B, T, experts]
        best = p.topk(self.use, -1).indices
        chosen = torch.zeros_like(p, dtype=torch.bool).scatter(-1, best, True)[..., self.of]
        chosen = chosen if present is None else chosen & present
        p = p[..., self.of]
        return chosen, (chosen * (1 + (p - p.detach()))).to(x.dtype), {}

    def flops(self) -> dict[str, float]:
        return {"gate": 2.0 * self.keys.numel()}
