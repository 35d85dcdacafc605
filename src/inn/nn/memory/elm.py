"""Expressive leaky memory as the memory of a neuron (after Spieler et al. 2023, arXiv 2306.16922)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.memory.base import Parts
from inn.nn.memory.options.elm import ELMOptions
from inn.nn.memory.recurrent import RecurrentMemory, sheltered
from inn.nn.population import NeuronLinear
from inn.ops import recurrence, selective_scan

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig

_STEP = math.log(math.e - 1)  # softplus of it is 1: a step of the trace is one step long
_NO_STEP = -1e4  # softplus of it is 0
_OPEN = 1.2784645427610738  # silu of it is 1: what comes out of the scan is the trace itself


class ELM(RecurrentMemory):
    """Branches with a leaky trace of what they hear, a small network, and leaky units that it writes into.

    b = κ_b b + Σ relu(w) x in each branch; Δ = 1.7159 tanh(⅔ MLP([b, κ m])); m = κ m + (1 - κ_λ) Δ; the output is
    linear in m. κ = exp(-1/τ), κ_λ = exp(-λ/τ); the MLP has M = 2 H hidden units.

    State parts: `m` `[B, N, H]` and `b` `[B, N, J]`, a number for each branch.
    """

    Options = ELMOptions
    cell = "elm"
    parts = ("m",)
    main_part = "m"
    maps_in, maps_out = False, True
    no_decay = ("synapses", "bias", "out_bias", "tau_at")
    matrix_weights = ("heard", "out")

    def make(self, config: GraphConfig) -> None:
        P, H, self.options = config.populations, self.units, config.memory
        J, K = self.options.tree(config.width)
        self.synapses = nn.Parameter(torch.empty(P, J, K))
        self.branch = NeuronLinear(P, J, 2 * H)
        self.branch.bound = 1 / math.sqrt(J + H)  # one layer of the MLP, in two parts
        self.branch.reset_parameters()
        self.bias = nn.Parameter(torch.empty(P, 2 * H))
        self.heard = nn.Parameter(torch.empty(P, 2 * H, H))
        self.out = nn.Parameter(torch.empty(P, H, 2 * H))
        self.out_bias = nn.Parameter(torch.empty(P, H))
        self.tau_at = nn.Parameter(torch.empty(P, H)) if self.options.learn_tau else None

    @torch.no_grad()
    def reset_parameters(self) -> None:
        H = self.units
        self.synapses.fill_(0.5)  # above zero, where a relu would hold it for good
        self.heard.uniform_(-self.branch.bound, self.branch.bound)
        self.out.uniform_(-((2 * H) ** -0.5), (2 * H) ** -0.5)
        self.bias.zero_()
        self.out_bias.zero_()
        if self.tau_at is not None:
            self.tau_at.copy_(torch.logit(torch.linspace(0, 1, H).clamp(0.02, 0.98)))

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        """A number per unit of width, for the branches."""
        return config.width

    def initial_state(self, batch: int) -> Parts:
        state = super().initial_state(batch)
        return {**state, "b": state["m"].new_zeros(batch, self.neurons, self.synapses.shape[1])}

    def taus(self) -> Tensor:
        """Time constants of the units, `[H]`, or learned `[P, H]`, in float32 or the type of a float64 model."""
        low, high = math.log(self.options.tau_min), math.log(self.options.tau_max)
        kind = torch.promote_types(self.heard.dtype, torch.float32)
        if self.tau_at is None:
            return torch.linspace(low, high, self.units, dtype=kind, device=self.heard.device).exp()
        return torch.exp(low + (high - low) * torch.sigmoid(self.tau_at.to(kind)))

    def weights(self) -> tuple[Tensor, ...]:
        tau = self.taus().expand_as(self.out_bias)
        return self.heard, self.out, self.out_bias, torch.exp(-1 / tau), -torch.expm1(-self.options.gain / tau)

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        x, mask = sheltered(x, mask, present)
        b, trace = self.trace(self.summed(x), state["b"], reset, mask)
        x = self.branch(b.to(x.dtype)) + self.bias.to(x.dtype)
        y, m = recurrence(self.cell, x, state["m"][:, :, None], reset, mask, *self.weights())
        return self.out_proj(y), {"m": m[:, :, 0], "b": trace}  # type: ignore[misc]

    def summed(self, x: Tensor) -> Tensor:
        """What each branch adds up of `[B, T, N, D]`: its stretch of the channels, `[B, T, N, J]`."""
        w = torch.relu(self.synapses).to(x.dtype)
        J, K = w.shape[1:]
        if K > 1:  # the last branches hear round the end
            x = torch.cat((x, x[..., : K - 1]), -1).unfold(-1, K, x.shape[-1] // J)[:, :, :, :J]
            return (x * w).sum(-1)
        return x[..., :: x.shape[-1] // J] * w[..., 0]

    def trace(self, x: Tensor, before: Tensor, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """b_t = κ_b b_{t-1} + x_t at all steps `[B, T, N, J]`, and after the last: the scan, with nothing to select."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        step = x.new_full((), _STEP).expand(x.shape)
        if mask is not None and mask.ndim == 3:
            step, mask = step.masked_fill(~mask[..., None], _NO_STEP), None
        one = x.new_ones(()).expand(*x.shape[:3], 1)
        rate, none = x.new_full((1, x.shape[-1], 1), -1 / self.options.tau_branch), x.new_zeros(1, x.shape[-1])
        given = (one, one, none, x.new_full((), _OPEN).expand(x.shape), before[..., None], reset, mask)
        b, after = selective_scan(x, step, rate, *given)
        return b, after[..., 0]

    def time_constants(self, x: Tensor, state: Parts) -> Tensor:
        """Those of the units, `[N, H]`; the inputs have no say in them."""
        return self.taus().detach().double().expand(self.neurons, -1)

    def flops(self) -> dict[str, float]:
        (J, K), H = self.synapses.shape[1:], self.units
        maps = self.branch.flops(self.neurons) + self.out_proj.flops(self.neurons)  # type: ignore[union-attr]
        return {
            "memory.matrices": maps + 2.0 * self.neurons * (self.heard[0].numel() + self.out[0].numel()),
            # synapses and trace of each branch; per hidden unit a relu, per unit a tanh and its part in the sum
            "memory.scan": self.neurons * (2.0 * J * (K + 1) + 2.0 * H + 6.0 * H),
        }
