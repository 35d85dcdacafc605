"""A complex state space as the memory of a neuron: states that turn (after Mamba-3, "data-dependent RoPE")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.memory.base import Parts
from inn.nn.memory.mamba import exact
from inn.nn.memory.mamba2 import Mamba2
from inn.nn.memory.options.complex import ComplexOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Complex(Mamba2):
    """h ← exp(Δ A) R(θ) h + Δ B xᵀ, y = hᵀ C + D x: R turns each pair of state numbers by an angle of the step's own.

    Pairs are K/2 apart (of an odd K the last number does not turn); θ = π tanh(g a + b) is the same for all heads. In a
    frame that turns with the state only the decay is left: B and C are turned by the sum of angles so far instead.
    """

    Options = ComplexOptions
    no_decay = (*Mamba2.no_decay, "angle_gain", "angle_bias")

    @classmethod
    def widths(cls, config: GraphConfig) -> tuple[int, ...]:
        *widths, steps = super().widths(config)
        return *widths, config.memory.state // 2, steps

    def make(self, config: GraphConfig) -> None:
        super().make(config)
        self.angle_gain = nn.Parameter(torch.empty(config.populations, config.memory.state // 2))
        self.angle_bias = nn.Parameter(torch.empty(config.populations, config.memory.state // 2))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.angle_gain.copy_(torch.logspace(-1.5, 0, self.angle_gain.shape[1]))
        self.angle_bias.zero_()

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
        angle = self.angles(others[0])
        if mask is not None:
            angle = torch.where(mask.view(*mask.shape, *(1,) * (4 - mask.ndim)), angle, 0.0)
        # Summed up in double precision, so that a long stretch ends where short ones do.
        so_far = angle.double().cumsum(1).remainder(2 * math.pi).to(angle.dtype)
        cos, sin = so_far.cos(), so_far.sin()
        y, after = super().scan(x, turned(B, cos, -sin), turned(C, cos, -sin), others, state, reset, mask)
        matrix = after["matrix"].transpose(-1, -2)
        matrix = turned(matrix, cos[:, -1, :, None, None], sin[:, -1, :, None, None])
        return y, {"matrix": matrix.transpose(-1, -2)}

    def angles(self, a: Tensor) -> Tensor:
        """θ `[B, T, N, K // 2]`."""
        return math.pi * torch.tanh(a.to(exact(a.dtype)) * self.angle_gain + self.angle_bias)


def turned(t: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs of numbers `[..., K]`, K/2 apart, turned by angles `[..., K // 2]`; of an odd K the last stays."""
    half = cos.shape[-1]
    a, b = t[..., :half], t[..., half : 2 * half]
    return torch.cat((a * cos - b * sin, a * sin + b * cos, t[..., 2 * half :].to(cos.dtype)), -1)
