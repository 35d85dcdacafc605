"""A complex state space as the memory of a neuron: states that turn (after Mamba-3, arXiv 2603.15569)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.masked import like
from inn.nn.memory.base import Parts
from inn.nn.memory.heads import several
from inn.nn.memory.mamba import exact
from inn.nn.memory.mamba2 import Mamba2
from inn.nn.memory.options.complex import ComplexOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Complex(Mamba2):
    """h ← exp(Δ A) R(θ) h + Δ B xᵀ, y = hᵀ C + D x: R turns each pair of state numbers by an angle of the step's own.

    Pairs are K/2 apart (of an odd K the last number does not turn); the angles, the same for all heads, are
    θ = π (g a + b), cut off at half a turn, which a sign is counted by and which has to be exact; g is from 0.03 to 1
    at the start. In a frame that turns with the state only the decay is left: B and C are turned by the sum of angles
    so far instead. With `trapezoid` what is written is λ Δ B xᵀ + (1 - λ) Δ exp(Δ A) R(θ) B' x'ᵀ, B' and x' of the
    step before; they are the state part `before` `[B, N, E + K]`.
    """

    Options = ComplexOptions
    no_decay = (*Mamba2.no_decay, "A_bias", "angle_gain", "angle_bias", "share_bias")

    @classmethod
    def widths(cls, config: GraphConfig) -> tuple[int, ...]:
        *widths, steps = super().widths(config)
        return *widths, config.memory.state // 2, *([steps] if config.memory.trapezoid else []), steps, steps

    def make(self, config: GraphConfig) -> None:
        super().make(config)
        self.A_log = None
        self.shares = config.memory.trapezoid
        if self.shares:
            self.share_bias = nn.Parameter(torch.empty(config.populations, config.memory.heads))
        self.A_bias = nn.Parameter(torch.empty(config.populations, config.memory.heads))
        self.angle_gain = nn.Parameter(torch.empty(config.populations, config.memory.state // 2))
        self.angle_bias = nn.Parameter(torch.empty(config.populations, config.memory.state // 2))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.angle_gain.copy_(torch.logspace(-1.5, 0, self.angle_gain.shape[1]))
        self.angle_bias.zero_()
        self.A_bias.copy_(torch.linspace(-5, -1, self.A_bias.shape[1]))  # from long memories to short ones
        if self.shares:
            self.share_bias.zero_()

    def initial_state(self, batch: int) -> Parts:
        state = super().initial_state(batch)
        if self.shares:
            H, K, V = self.dims
            state["before"] = state["matrix"].new_zeros(batch, self.neurons, H * V + K)
        return state

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
            angle = torch.where(like(mask, angle), angle, 0.0)
        # Summed up in double precision, so that a long stretch ends where short ones do.
        so_far = angle.double().cumsum(1).remainder(2 * math.pi).to(angle.dtype)
        cos, sin = so_far.cos(), so_far.sin()
        B, C = turned(B, cos, -sin), turned(C, cos, -sin)
        if self.shares:
            y, after = self._with_the_one_before(x, B, C, others, state, reset, mask)
        else:
            y, after = super().scan(x, B, C, others, state, reset, mask)
        last = cos[:, -1, :, None, None], sin[:, -1, :, None, None]
        after["matrix"] = turned(after["matrix"].transpose(-1, -2), *last).transpose(-1, -2)
        if self.shares:
            x, B = after["before"].split((x.shape[-1], B.shape[-1]), -1)
            after["before"] = torch.cat((x, turned(B, cos[:, -1], sin[:, -1])), -1)
        return y, after

    def _with_the_one_before(
        self,
        x: Tensor,
        B: Tensor,
        C: Tensor,
        others: list[Tensor],
        state: Parts,
        reset: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Parts]:
        """Two writes a step: the input of the step before, which decays at once, and this step's own."""
        step, decay = self.steps_of(others)
        share = torch.sigmoid(others[1].to(step.dtype) + self.share_bias)
        before, last = preceding(torch.cat((x.to(B.dtype), B), -1), state["before"], reset, mask)
        was, key = before.split((x.shape[-1], B.shape[-1]), -1)
        values = torch.cat((self.scaled(was, (1 - share) * step), self.scaled(x.to(B.dtype), share * step)), -1)
        decay = torch.cat((torch.zeros_like(decay), decay), -1)
        y, matrix = several(2, C, torch.cat((key, B), -1), values, decay, None, state["matrix"], reset, mask)
        return y, {"matrix": matrix, "before": last}

    def steps_of(self, others: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Step sizes Δ and the logarithms of the decays Δ A, `[B, T, N, H]` each; A is of the step, too."""
        rate, step = (t.to(exact(t.dtype)) for t in others[-2:])
        step = F.softplus(step + self.dt_bias)
        return step, -step * F.softplus(rate + self.A_bias)

    def angles(self, a: Tensor) -> Tensor:
        """θ `[B, T, N, K // 2]`."""
        return math.pi * (a.to(exact(a.dtype)) * self.angle_gain + self.angle_bias).clamp(-1, 1)


def turned(t: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs of numbers `[..., K]`, K/2 apart, turned by angles `[..., K // 2]`; of an odd K the last stays."""
    half = cos.shape[-1]
    a, b = t[..., :half], t[..., half : 2 * half]
    return torch.cat((a * cos - b * sin, a * sin + b * cos, t[..., 2 * half :].to(cos.dtype)), -1)


def preceding(t: Tensor, state: Tensor, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """What a stream `[B, T, N, W]` held at the last step that counted before each one, and before the one to come.

    `state` `[B, N, W]` was before them all; zeros are what was before a reset. A step counts that no `mask` leaves out.
    """
    time = t.shape[1]
    at = torch.arange(1, time + 1, device=t.device)[:, None].expand(t.shape[:3])
    counts = at if mask is None else at * like(mask, at)
    place = torch.cat((torch.zeros_like(at[:, :1]), counts.cummax(1).values), 1)  # [B, T + 1, N], 0: the state
    found = torch.cat((state[:, None].to(t.dtype), t), 1).gather(1, place[..., None].expand(-1, -1, -1, t.shape[-1]))
    if reset is not None:
        # A step after which there was a reset is of another stretch; the reset of a step is before the step itself.
        begun = torch.cat((reset, torch.zeros_like(reset[:, :1])), 1) * torch.arange(1, time + 2, device=t.device)
        found = found.masked_fill((begun.cummax(1).values[..., None] > place)[..., None], 0.0)
    return found[:, :-1], found[:, -1].to(state.dtype)
