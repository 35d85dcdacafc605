"""Spiking units that are parallel in time: a learned window of inputs and a threshold, no reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.direct import home
from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.options.psn import PSNOptions
from inn.nn.population import NeuronLinear, neuron_map
from inn.nn.presence import conv_of_present
from inn.ops.spike import spike

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class PSN(Memory):
    """In-projection, windowed sum over time, threshold, out-projection of the spikes; no norm, no residual.

    v_t = Σ_j w_j I_{t-j}, s_t = 1[v_t ≥ θ], after the parallel spiking neuron of Fang et al. (2023, arXiv 2304.12760) in
    its sliding form: the one that can go on from any step.

    State: `current` `[B, N, W-1, H]`, the last inputs of the window.
    """

    Options = PSNOptions
    no_decay = ("window",)
    spiking = ("out_proj",)

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        own: PSNOptions = config.memory
        P, D, H = config.populations, config.width, self.inputs(config)
        self.neurons, self.threshold = config.neurons, own.threshold
        self.in_proj = None if config.into_memory else neuron_map(config, D, H)
        self.window = nn.Parameter(torch.empty(P, H, own.window))
        self.reset_parameters()
        self.out_proj = NeuronLinear(P, H, D)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        ages = torch.arange(self.window.shape[-1] - 1, -1, -1, device=self.window.device)
        self.window.copy_(torch.pow(0.5, ages))  # a leaky sum of time constant 2, as far as the window reaches

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        """A current for every unit."""
        return config.memory.expand * config.width

    def initial_state(self, batch: int) -> Parts:
        _, H, W = self.window.shape
        like = {"device": home(self, self.window), "dtype": torch.promote_types(self.window.dtype, torch.float32)}
        return {"current": torch.zeros(batch, self.neurons, W - 1, H, **like)}

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        current = x if self.in_proj is None else self.in_proj(x)
        if mask is None and present is None:
            v, last = windowed(current, self.window, None, state["current"], reset, None)
        else:
            there = torch.ones_like(current[..., 0], dtype=torch.bool) if present is None else present
            options = (state["current"], reset, mask, there)
            v, last = conv_of_present(current, self.window, None, *options, conv=windowed)
        return self.out_proj(spike(v - self.threshold).to(x.dtype)), {"current": last}

    def flops(self) -> dict[str, float]:
        maps = [self.out_proj] + ([] if self.in_proj is None else [self.in_proj])
        _, H, W = self.window.shape
        return {
            "memory.matrices": sum(m.flops(self.neurons) for m in maps),
            "memory.window": 2.0 * self.neurons * H * W,
        }


def windowed(
    x: Tensor, weight: Tensor, bias: None, state: Tensor, reset: Tensor | None, mask: None
) -> tuple[Tensor, Tensor]:
    """Sums over the last W inputs of every unit: `x` `[B, T, N, H]`, `weight` `[P, H, W]`, the last one's at the end.

    Returns the sums `[B, T, N, H]`, float32 at least, and the last W-1 inputs `[B, N, W-1, H]`; a reset `[B, T]` forgets
    those before it.
    """
    W, T = weight.shape[-1], x.shape[1]
    exact = state.dtype
    padded = torch.cat((state.transpose(1, 2), x.to(exact)), 1)  # [B, W-1+T, N, H]
    begun = None
    if reset is not None:  # the step from which on an input is remembered at each step
        at = torch.arange(T, device=x.device)
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
