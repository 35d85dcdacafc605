"""Spiking units that are parallel in time: a learned window of currents and a threshold, no reset."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inn.nn.memory.base import Parts
from inn.nn.memory.options.spiking import PSNOptions
from inn.nn.memory.spiking import SpikingMemory
from inn.nn.presence import conv_of_present
from inn.ops.spike import spike


class PSN(SpikingMemory):
    """v_t = Σ_j w_j I_{t-j}, a spike where v_t ≥ θ: the parallel spiking neuron (Fang et al. 2023, arXiv 2304.12760).

    It is the sliding form, the one that can go on from any step; every unit has a window of its own.

    State part: `current` `[B, N, W-1, H]`, the last currents.
    """

    Options = PSNOptions
    no_decay = ("window",)

    def make(self, config) -> None:
        self.window = nn.Parameter(torch.empty(config.populations, self.units, config.memory.window))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        ages = torch.arange(self.window.shape[-1] - 1, -1, -1, device=self.window.device)
        self.window.copy_(torch.pow(0.5, ages))  # a leaky sum, each step half of the one after it

    def initial_state(self, batch: int) -> Parts:
        return {"current": self.empty(batch, self.window.shape[-1] - 1, self.units)}

    def fire(
        self, current: Tensor, state: Parts, reset: Tensor | None, mask: Tensor | None, present: Tensor | None
    ) -> tuple[Tensor, Parts]:
        if mask is None and present is None:
            v, last = windowed(current, self.window, None, state["current"], reset, None)
        else:
            there = torch.ones_like(current[..., 0], dtype=torch.bool) if present is None else present
            options = (state["current"], reset, mask, there)
            v, last = conv_of_present(current, self.window, None, *options, conv=windowed)
        return spike(v - self.threshold), {"current": last}

    def flops(self) -> dict[str, float]:
        # per unit: the window's multiply-adds, the threshold
        return {**super().flops(), "memory.units": self.neurons * self.units * (2.0 * self.window.shape[-1] + 1)}


def windowed(
    x: Tensor, weight: Tensor, bias: None, state: Tensor, reset: Tensor | None, mask: None
) -> tuple[Tensor, Tensor]:
    """Sums over the last W inputs of every unit: `x` `[B, T, N, H]`, `weight` `[P, H, W]`, the last one's at the end.

    Returns the sums `[B, T, N, H]`, float32 at least, and the last W-1 inputs `[B, N, W-1, H]`; a reset `[B, T]`
    forgets those before it.
    """
    W, T, exact = weight.shape[-1], x.shape[1], state.dtype
    padded = torch.cat((state.transpose(1, 2), x.to(exact)), 1)  # [B, W-1+T, N, H]
    at, begun = torch.arange(T, device=x.device), None
    if reset is not None:  # the step from which on inputs are remembered, at each step
        begun = torch.where(reset, at, -W).cummax(1).values  # [B, T]
    total = torch.zeros_like(x, dtype=exact)
    for age in range(W):
        part = padded[:, W - 1 - age : W - 1 - age + T] * weight[..., W - 1 - age].to(exact)
        if begun is not None and age:
            part = part.masked_fill((at - age < begun)[..., None, None], 0.0)
        total = total + part
    last = padded[:, T:].transpose(1, 2)
    if begun is not None:
        ages = torch.arange(W - 1, 0, -1, device=x.device)
        last = last.masked_fill((T - ages < begun[:, -1:])[:, None, :, None], 0.0)
    return total, last
