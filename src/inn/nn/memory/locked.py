"""A GRU that keeps what was written (after the later versions of arXiv 2511.22813's published code)."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.nn.memory.gru import GRU
from inn.nn.memory.options.locked import LockedOptions


class Locked(GRU):
    """A GRU whose recurrent map is fixed: the candidate sees the state before it as it is, the gates do not see it.

    r, z = σ(x_r), σ(x_z + closed); n = tanh(x_n + r (h + b)); h = z h + (1 - z) n: only an input opens the gate, and
    what was written stays until one does. State part: `h` `[B, N, H]`.
    """

    Options = LockedOptions

    def make(self, config) -> None:
        super().make(config)
        self.heard = None  # type: ignore[assignment]
        self.closed = config.memory.closed

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.bias.zero_()
        self.bias[:, self.units : 2 * self.units] = self.closed
        self.new_bias.zero_()

    def weights(self) -> tuple[Tensor, ...]:
        one = torch.eye(self.units, dtype=self.bias.dtype, device=self.bias.device)
        return torch.nn.functional.pad(one, (0, 0, 2 * self.units, 0))[None], self.new_bias

    def flops(self) -> dict[str, float]:
        maps = [m for m in (self.in_proj, self.out_proj) if m is not None]
        return {
            "memory.matrices": float(sum(m.flops(self.neurons) for m in maps)),
            "memory.scan": 2.0 * self.neurons * self.gates * self.units,
        }
