"""Mamba-2 as the memory of a neuron: a state space with one decay per head (Dao & Gu 2024, arXiv 2405.21060)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.memory.base import Parts
from inn.nn.memory.heads import HeadMemory
from inn.nn.memory.options.mamba2 import Mamba2Options
from inn.ops import delta_scan

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Mamba2(HeadMemory):
    """h ← exp(Δ A) h + Δ B xᵀ, y = hᵀ C + D x: A, D and Δ one number per head, B and C the same for all heads."""

    Options = Mamba2Options
    no_decay = (*HeadMemory.no_decay, "D")

    @classmethod
    def widths(cls, config: GraphConfig) -> tuple[int, ...]:
        own: Mamba2Options = config.memory
        E = own.values(config.width)
        return E + 2 * own.state, E, own.heads

    def make(self, config: GraphConfig) -> None:
        self.D = nn.Parameter(torch.empty(config.populations, config.memory.heads))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.D.fill_(1.0)

    def recall(
        self, u: Tensor, others: list[Tensor], state: Parts, reset: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Parts]:
        H, K, V = self.dims
        x, B, C = u.split((H * V, K, K), -1)
        y, after = self.scan(x, B, C, others, state, reset, mask)
        return y + (x.unflatten(-1, (H, V)) * self.D[..., None].to(x.dtype)).flatten(-2), after

    def scan(
        self,
        x: Tensor,
        B: Tensor,
        C: Tensor,
        others: list[Tensor],
        state: Parts,
        reset: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Parts]:
        """The recurrence without its direct path."""
        step, decay = self.steps_of(others)
        y, matrix = delta_scan(C, B, self.scaled(x, step), decay, None, state["matrix"], reset, mask)
        return y, {"matrix": matrix}

    def scaled(self, x: Tensor, factors: Tensor) -> Tensor:
        """Every head's values `[B, T, N, H x V]` times a number of its own `[B, T, N, H]`."""
        return (x.unflatten(-1, (self.dims[0], -1)) * factors[..., None].to(x.dtype)).flatten(-2)
