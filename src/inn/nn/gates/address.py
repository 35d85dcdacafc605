"""Addresses: each step goes to the neurons whose signature it fits best, and the others rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.gates.base import Gate
from inn.nn.gates.options import AddressOptions
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Address(Gate):
    """A step's key k is compared with each neuron's signature s: p = softmax(cos(k, s) / τ), the `top` largest work.

    The choice is hard; the factor is 1 and has the gradient of p (straight-through). The temperature τ is learned, and
    so is the key, a linear map of what a neuron takes in.

    What makes neurons settle is a penalty by the name of `address`: `information` · (H(n | stream) + `balance` ·
    (log N - H(n))), entropies of p in nats: few neurons serve a stream, and all serve some. It is zero where every
    stream has a neuron of its own and all are used alike.
    """

    rests = True
    once = True
    no_decay = ("signatures", "log_temperature")
    Options = AddressOptions
    table: Tensor | None

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        o = self.options = config.gate
        self.neurons = config.neurons
        self.register_buffer("table", torch.tensor(o.table) if o.table else None, persistent=False)
        if self.table is None:
            self.key = nn.Parameter(torch.empty(o.signature, config.width))
            self.signatures = nn.Parameter(torch.empty(config.neurons, o.signature))
            self.log_temperature = nn.Parameter(torch.empty(()))
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        o = self.options
        if self.table is not None:
            self.table.copy_(torch.tensor(o.table))
            return
        self.key.normal_(std=self.key.shape[1] ** -0.5)
        (nn.init.orthogonal_ if o.start == "orthogonal" else nn.init.normal_)(self.signatures)
        self.log_temperature.fill_(math.log(o.temperature))

    def known(self, symbols: Tensor) -> Tensor | None:
        if self.table is None:
            return None
        return self.table[symbols][..., None] == torch.arange(self.neurons, device=symbols.device)

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        if self.table is not None:
            if present is None:
                raise InputError("the addresses of gate 'address' are those of symbols, and a graph alone reads none; "
                                 "leave gate.table out, or use a model that reads symbols")  # fmt: skip
            return present, present.to(x.dtype), {}
        one = x[:, :, :1] if x.stride(2) == 0 else x  # all take in the same
        key = (one @ self.key.to(one.dtype).t()).to(torch.promote_types(x.dtype, torch.float32))
        fits = (F.normalize(key, dim=-1) * F.normalize(self.signatures.to(key.dtype), dim=-1)).sum(-1)
        logits = fits / self.log_temperature.exp()
        if present is not None:
            logits = logits.masked_fill(~present, torch.finfo(logits.dtype).min)
        p = logits.softmax(-1)
        best = p.topk(min(self.options.top, self.neurons), -1).indices
        chosen = torch.zeros_like(p, dtype=torch.bool).scatter(-1, best, True)
        chosen = chosen if present is None else chosen & present
        factor = (chosen * (1 + (p - p.detach()))).to(x.dtype)
        weight = self.options.information
        return chosen, factor, {"address": weight * self.disorder(p, mask)} if weight and self.training else {}

    def disorder(self, p: Tensor, mask: Tensor | None) -> Tensor:
        """H(n | stream) + balance · (log N - H(n)) of probabilities `[B, T, N]`, over the steps that count."""
        counts = p.new_ones(p.shape[:2]) if mask is None else mask.to(p)
        steps = counts.sum(1)  # [B]
        of_stream = (p * counts[..., None]).sum(1) / steps.clamp_min(1)[:, None]
        share = steps / steps.sum().clamp_min(1)
        within = (share * _entropy(of_stream)).sum()
        return within + self.options.balance * (math.log(self.neurons) - _entropy(share @ of_stream))

    def flops(self) -> dict[str, float]:
        if self.table is not None:
            return {}
        size = self.key.numel() + self.options.signature
        return {"gate": 2.0 * self.neurons * size}


def _entropy(p: Tensor) -> Tensor:
    """Entropy in nats over the last axis."""
    return torch.special.entr(p).sum(-1)
