"""The paper's control: everyone hears the plain average (arXiv 2511.22813, Table 3, "static communication")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inn.nn.routing.base import Parts, WeightedRouter
from inn.nn.topology.edges import Edges, heard

if TYPE_CHECKING:
    from inn.nn.tape import RoundTape


class Static(WeightedRouter):
    """Fixed uniform weights, 1/N (1/K where only K edges are open)."""

    exchangeable = True

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
            weights = edges.factors(torch.float32) / edges.open.sum(1, keepdim=True).clamp_min(1)
            message = torch.einsum("ik,btikd->btid", weights.abs().to(v.dtype), heard(v, edges))
        elif edges is None:
            weights = torch.full((self.neurons, self.neurons), 1 / self.neurons, device=x.device)
            message = v.mean(2, keepdim=True).expand_as(v)  # the same for all: no need for the product
        else:
            weights = edges.dense().float()
            weights = weights / weights.sum(1, keepdim=True).clamp_min(1)
            message = torch.einsum("ij,btjd->btid", weights.to(v.dtype), v)
        if tape is not None:
            tape.add_routing(weights.expand(*x.shape[:2], 1, -1, -1), edges if self.sparse else None)
        return self.out(message), {}
