"""Leaky integrate-and-fire units as the memory of a neuron."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.nn.memory.base import Parts
from inn.nn.memory.options.spiking import LIFOptions
from inn.nn.memory.spiking import SpikingMemory
from inn.nn.presence import counted
from inn.ops import recurrence

_NO_LEAK = 2.0**-80
"""The leak of a unit without one, so small that a float64 has no digit for it: v + leak (I / leak - v) is v + I."""


class LIF(SpikingMemory):
    """v ← v + (I - v) / τ; a spike where v ≥ θ, which sets v to zero (`hard`) or takes θ off (`soft`).

    With τ null it is v ← v + I. A hard reset has no gradient; that of a spike is the arctangent's.

    State part: `v` `[B, N, H]`, the potentials.
    """

    Options = LIFOptions

    def make(self, config) -> None:
        self.tau, self.reset = config.memory.tau, config.memory.reset

    def initial_state(self, batch: int) -> Parts:
        return {"v": self.empty(batch, self.units)}

    def leak(self) -> tuple[Tensor | float, float]:
        """What a step moves the potential towards the current, `[P, H]` or one number, and a factor on the current."""
        return (_NO_LEAK, 1 / _NO_LEAK) if self.tau is None else (1 / self.tau, 1.0)

    def fire(
        self, current: Tensor, state: Parts, reset: Tensor | None, mask: Tensor | None, present: Tensor | None
    ) -> tuple[Tensor, Parts]:
        v = state["v"]
        leak, factor = self.leak()
        if factor != 1:
            current = current.to(v.dtype) * factor
        if not isinstance(leak, Tensor):
            leak = torch.full((1, self.units), leak, dtype=v.dtype, device=v.device)
        cell, threshold = "lif" if self.reset == "hard" else "lif-soft", torch.full_like(leak, self.threshold)
        spikes, v = recurrence(cell, current, v[:, :, None], reset, counted(mask, present), leak, threshold)
        return spikes, {"v": v[:, :, 0]}

    def time_constants(self, x: Tensor, state: Parts) -> Tensor | None:
        """τ of every unit while it does not fire, -1 / ln(1 - 1/τ) steps, `[N, H]`; None without a leak."""
        leak, _ = self.leak()
        if self.tau is None:
            return None
        kept = 1 - torch.as_tensor(leak, dtype=torch.float64).detach()
        return (-1 / kept.clamp_min(1e-300).log()).expand(self.neurons, self.units)

    def flops(self) -> dict[str, float]:
        # per unit: the difference, its share, the sum, the threshold, the reset
        return {**super().flops(), "memory.units": 5.0 * self.neurons * self.units}
