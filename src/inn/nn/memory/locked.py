"""A GRU that keeps what was written (after the later versions of arXiv 2511.22813's published code)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.memory.gru import GRU
from inn.nn.memory.options.locked import LockedOptions
from inn.nn.population import flops_of

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig

_SHUT = 40.0
"""What a gate that is shut sees: its sigmoid is 1 to the last bit, in float64 too."""


class Locked(GRU):
    """A GRU whose recurrent map is fixed: the candidate sees the state before it as it is, the gates do not see it.

    r, z = σ(x_r), σ(x_z), and z = 1 where it is above `exact`; n = tanh(x_n + r (h + b)); h = z h + (1 - z) n. So only
    an input opens the gate, and what was written stays until one does, however long that is. With feedback
    (dendrites with `lag: 1`) what is heard of others reaches the candidate, and not the gates.

    State part: `h` `[B, N, H]`.
    """

    Options = LockedOptions

    def make(self, config: GraphConfig) -> None:
        P, self.options = config.populations, config.memory
        self.bias = nn.Parameter(torch.empty(P, 3 * self.units))
        self.new_bias = nn.Parameter(torch.empty(P, self.units))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.bias.zero_()
        self.bias[:, self.units : 2 * self.units] = self.options.closed
        self.new_bias.zero_()

    def weights(self) -> tuple[Tensor, ...]:
        one = torch.eye(self.units, dtype=self.bias.dtype, device=self.bias.device)
        fixed = nn.functional.pad(one, (0, 0, 2 * self.units, 0))
        return fixed.expand(len(self.bias), -1, -1), self.new_bias

    def taken(self, x: Tensor) -> Tensor:
        x = super().taken(x)
        if self.options.exact == 1:
            return x
        r, z, n = x.chunk(3, -1)
        return torch.cat((r, z.masked_fill(torch.sigmoid(z) > self.options.exact, _SHUT), n), -1)

    def admitted(self, message: Tensor) -> Tensor:
        return nn.functional.pad(message[..., 2 * self.units :], (2 * self.units, 0))

    def flops(self) -> dict[str, float]:
        return {
            "memory.matrices": flops_of(self.neurons, self.in_proj, self.out_proj),
            "memory.scan": 2.0 * self.neurons * self.gates * self.units,
        }
