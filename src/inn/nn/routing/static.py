"""The paper's control: everyone hears the plain average (arXiv 2511.22813, Table 3, "static communication")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inn.nn.presence import only_present
from inn.nn.routing.base import Parts, WeightedRouter
from inn.nn.topology.edges import Edges
from inn.ops import neighbour_sum

if TYPE_CHECKING:
    from inn.nn.tape import RoundTape


class Static(WeightedRouter):
    """Fixed uniform weights, 1/N (1/K where only K edges are open)."""

    exchangeable = True
    learns_edges = takes_lags = True

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
        v, along, after = only_present(self.values(x, gate), present), edges, {}
        if self.sparse:
            v, present, along, after = self.late(v, state, edges, present, reset, mask)
        share = None if present is None else self._share(present, along, v.dtype)
        if self.sparse and edges is not None:
            assert along is not None
            weights = edges.factors(torch.float32) / edges.open.sum(1, keepdim=True).clamp_min(1)
            message = neighbour_sum(v, weights, along.sources, along.open)
        elif edges is None:
            weights = torch.full((self.neurons, self.neurons), 1 / self.neurons, device=x.device)
            message = v.mean(2, keepdim=True).expand_as(v)  # the same for all: no need for the product
        else:
            weights = edges.matrix(torch.float32)
            weights = weights / weights.sum(1, keepdim=True).clamp_min(1)
            message = torch.einsum("ij,btjd->btid", weights.to(v.dtype), v)
        if share is not None:
            message = message * share[..., None]
        if tape is not None and share is not None and present is not None:
            there = present if along is None or not self.sparse else present[:, :, along.sources]
            there = there if there.ndim == 4 else there[:, :, None]
            tape.add_routing((weights * there * share[..., None])[:, :, None], edges if self.sparse else None)
        elif tape is not None:
            tape.add_routing(weights.expand(*x.shape[:2], 1, -1, -1), edges if self.sparse else None)
        return self.out(message), after

    def _share(self, present: Tensor, edges: Edges | None, dtype: torch.dtype) -> Tensor:
        """By how much more the neurons that are there weigh, `[B, T, N]`; exactly 1 where all are."""
        if edges is None:
            return self.neurons / present.sum(2, keepdim=True).clamp_min(1).to(dtype).expand(-1, -1, self.neurons)
        there = (present[:, :, edges.sources] & edges.open).sum(-1).clamp_min(1)
        return edges.open.sum(1).clamp_min(1).to(dtype) / there.to(dtype)
