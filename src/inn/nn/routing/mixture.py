"""A mixture over the neurons: each listener asks a few, and only they answer (after ModuleFormer, arXiv 2306.04640)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.population import neuron_map
from inn.nn.presence import counted
from inn.nn.routing.base import Parts, WeightedRouter
from inn.nn.routing.choice import chosen, penalty
from inn.nn.routing.options import MixtureOptions
from inn.nn.topology.edges import Edges
from inn.ops import neighbour_sum
from inn.ops.tensors import shares
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape


class Mixture(WeightedRouter):
    """Neuron i hears Σ_j p_ij V x_j over the `top` sources whose p is largest, p_i = softmax_j(a_j · GELU(W x_i)).

    Every neuron j has an address a_j, the same for all who ask, so that neurons can be taken away and added
    (`inn.surgery.neurons`). The weights p of those who answer are not brought back to a sum of 1. In training
    `sampled` of them are drawn from the rest, and a `loss` is added, of this call's choices alone
    (`inn.nn.routing.choice.penalty`). Who is absent, or behind a closed edge, is no choice.
    """

    mass = None
    Options = MixtureOptions
    no_decay = ("addresses",)

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        own: MixtureOptions = config.router
        if own.top > config.neurons:
            raise InputError(f"top {own.top} asks more neurons than there are, {config.neurons}; set top lower")
        self.top, self.sampled, self.loss, self.loss_weight = own.top, own.sampled, own.loss, own.loss_weight
        self.ask = neuron_map(config, config.width, own.address_width)
        self.addresses = nn.Parameter(torch.empty(config.neurons, own.address_width))
        self.reset_parameters()

    def concentrate(self, weight: float) -> None:
        """Add `weight` H(e) in training, in place of whatever was added."""
        self.loss, self.loss_weight = "concentrate", weight

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.addresses, -(bound := 1 / math.sqrt(self.addresses.shape[1])), bound)

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
    ) -> tuple[Tensor, Parts] | tuple[Tensor, Parts, dict[str, Tensor]]:
        listed = edges if self.sparse else None
        asked, addresses = F.gelu(self.ask(x)), self.addresses.to(x.dtype)
        if listed is None:
            logits = asked @ addresses.T  # [B, T, N_to, N_from]
            is_open = None if edges is None else edges.dense()
            there = None if present is None else present[:, :, None]
        else:
            logits = torch.einsum("btnh,nkh->btnk", asked, addresses[listed.sources])
            is_open, there = listed.open, None if present is None else present[:, :, listed.sources]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        known = there if is_open is None else is_open if there is None else is_open & there
        p = logits.softmax(-1) if known is None else shares(logits, known)
        answers = chosen(p, self.top, self.sampled if self.training else 0)
        weights, v = p * answers, self.values(x, gate)
        if listed is None:
            message = weights.to(v.dtype) @ v
        else:
            weights = weights if listed.signs is None else weights * listed.signs
            message = neighbour_sum(v[..., None, :], weights[:, :, None], listed.sources, listed.open)[..., 0, :]
        if tape is not None:
            tape.add_routing(weights[:, :, None], listed)
        message = self.out(message)
        if not self.training or self.loss == "none":
            return message, {}
        logits = logits if known is None else logits.masked_fill(~known, -torch.inf)
        among = self.neurons, None if listed is None else listed.sources
        cost = penalty(self.loss, p, logits, answers, among, counted(mask, present))
        return message, {}, {self.loss: self.loss_weight * cost}

    def flops(self) -> dict[str, float]:
        maps = super().flops()["routing.matrices"] + self.ask.flops(self.neurons)
        scores, sums = self.degree * self.addresses.shape[1], min(self.top, self.degree) * self.width
        return {"routing.matrices": maps, "routing.messages": 2.0 * self.neurons * (scores + sums)}


def mixtures_of(model: nn.Module) -> list[Mixture]:
    """The mixtures of a model; raises `InputError` for one that has none."""
    if found := [m for m in model.modules() if isinstance(m, Mixture)]:
        return found
    raise InputError(f"this {type(model).__name__} has no router 'mixture', whose choices could be concentrated")
