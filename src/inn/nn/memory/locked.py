"""A GRU that keeps what was written (after the later versions of arXiv 2511.22813's published code)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.memory.gru import GRU
from inn.nn.memory.options.locked import LockedOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Locked(GRU):
    """A GRU whose recurrent map is fixed: the candidate sees the state before it as it is, the gates do not see it.

    r, z = σ(x_r), σ(x_z + closed); n = tanh(x_n + r (h + b)); h = z h + (1 - z) n: only an input opens the gate, and
    what was written stays until one does. State part: `h` `[B, N, H]`.
    """

    Options = LockedOptions

    def make(self, config: GraphConfig) -> None:
        P, self.options = config.populations, config.memory
        self.bias = nn.Parameter(torch.empty(P, 3 * self.units))
        self.new_bias = nn.Parameter(torch.empty(P, self.units))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.bias.zero_()
        self.bias[:, self.units : 2 * self.units] = self.options.closed / self.options.sharpness
        self.new_bias.zero_()

    def weights(self) -> tuple[Tensor, ...]:
        one = torch.eye(self.units, dtype=self.bias.dtype, device=self.bias.device)
        own = nn.functional.pad(one, (0, 0, 2 * self.units, 0))
        return own.expand(len(self.new_bias), -1, -1), self.new_bias

    def scales(self) -> Tensor | None:
        if self.options.sharpness == 1:
            return None
        scales = torch.ones(3, self.units, dtype=self.bias.dtype, device=self.bias.device)
        scales[1] = self.options.sharpness
        return scales.flatten()

    def taken(self, x: Tensor) -> Tensor:
        return self.scaled(super().taken(x))

    def flops(self) -> dict[str, float]:
        maps = [m for m in (self.in_proj, self.out_proj) if m is not None]
        return {
            "memory.matrices": float(sum(m.flops(self.neurons) for m in maps)),
            "memory.scan": 2.0 * self.neurons * self.gates * self.units,
        }
