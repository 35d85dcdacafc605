"""What memories whose state is a matrix per head have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.direct import home
from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.mamba import exact, inverse_softplus
from inn.nn.memory.options.heads import HeadsOptions
from inn.nn.population import NeuronLinear, neuron_map
from inn.nn.presence import conv_of_present
from inn.ops import causal_conv

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class HeadMemory(Memory):
    """In-projection, short convolution, a recurrence of matrices, output gate, out-projection; no norm, no residual.

    State parts: `conv` `[B, N, taps - 1, C]`, the last inputs of the convolution, and `matrix` `[B, N, H, K, V]`.
    """

    Options = HeadsOptions
    main_part = "matrix"
    no_decay = ("conv_bias", "A_log", "dt_bias")

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        P = config.populations
        own: HeadsOptions = config.memory
        E = own.values(config.width)
        self.dims = (own.heads, own.state, E // own.heads)  # H, K, V
        self.steps = (own.dt_min, own.dt_max)
        self.streams = self.widths(config)
        C, taps = self.streams[0], own.conv
        self.in_proj = None if config.into_memory else neuron_map(config, config.width, sum(self.streams))
        self.conv_weight = nn.Parameter(torch.empty(P, C, taps))
        self.conv_bias = nn.Parameter(torch.empty(P, C))
        self.A_log = nn.Parameter(torch.empty(P, own.heads))
        self.dt_bias = nn.Parameter(torch.empty(P, own.heads))
        self.out_proj = NeuronLinear(P, E, config.width)
        self.make(config)
        self.reset_parameters()

    def make(self, config: GraphConfig) -> None:
        """Make the parameters that a kind has beside these; `reset_parameters` starts them."""

    @torch.no_grad()
    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.conv_weight.shape[-1])
        for t in (self.conv_weight, self.conv_bias):
            t.uniform_(-bound, bound)
        if self.A_log is None:
            return
        rate, low, high = torch.empty_like(self.A_log, dtype=exact(self.A_log.dtype)), *map(math.log, self.steps)
        self.A_log.copy_(rate.uniform_(1, 16).log())
        self.dt_bias.copy_(inverse_softplus(rate.uniform_(low, high).exp()))

    @classmethod
    @abstractmethod
    def widths(cls, config: GraphConfig) -> tuple[int, ...]:
        """How many numbers a neuron takes in: C for the convolution, E for the output gate, others, H for steps."""

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        return sum(cls.widths(config))

    def initial_state(self, batch: int) -> Parts:
        like = {"device": home(self, self.conv_bias), "dtype": exact(self.conv_bias.dtype)}
        before = (self.conv_weight.shape[-1] - 1, self.streams[0])
        return {
            "conv": torch.zeros(batch, self.neurons, *before, **like),
            "matrix": torch.zeros(batch, self.neurons, *self.dims, **like),
        }

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        u, z, *others = self.read(x)
        if present is None:
            u, conv = causal_conv(u, self.conv_weight, self.conv_bias, state["conv"], reset, mask)
        else:
            options = (reset, mask, present)
            u, conv = conv_of_present(u, self.conv_weight, self.conv_bias, state["conv"], *options)
            mask = present if mask is None else present & mask[..., None]
        y, after = self.recall(u, others, state, reset, mask)
        return self.out_proj(y * F.silu(z)), {"conv": conv, **after}

    def read(self, x: Tensor) -> tuple[Tensor, ...]:
        """The streams of what arrives."""
        return x.split(self.streams, -1) if self.in_proj is None else self.in_proj(x, *self.streams)

    @abstractmethod
    def recall(
        self, u: Tensor, others: list[Tensor], state: Parts, reset: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Parts]:
        """What is read `[B, T, N, E]` of the recurrence, and the state's parts after it, without `conv`.

        Args:
            u: `[B, T, N, C]`, out of the convolution.
            others: the streams behind the output gate, step sizes `[B, T, N, H]` last.
            mask: `[B, T]` or `[B, T, N]`.
        """

    def step_sizes(self, dt: Tensor) -> Tensor:
        """Δ `[B, T, N, H]`."""
        return F.softplus(dt.to(exact(dt.dtype)) + self.dt_bias)

    def rates(self) -> Tensor:
        """A `[P, H]`, negative: the logarithm of a step's decay is Δ A."""
        return -self.A_log.to(exact(self.A_log.dtype)).exp()

    def time_constants(self, x: Tensor, state: Parts) -> Tensor | None:
        """A head's state decays by exp(Δ A) at every symbol: τ = 1 / (Δ |A|), Δ the mean over `x`."""
        steps = self.step_sizes(self.read(x)[-1].double()).mean((0, 1))  # [N, H]
        return (1 / (steps * -self.rates().double()).clamp_min(1e-300)).detach()

    def flops(self) -> dict[str, float]:
        maps = [self.out_proj] + ([] if self.in_proj is None else [self.in_proj])
        return {
            "memory.matrices": sum(m.flops(self.neurons) for m in maps),
            "memory.scan": self.neurons * (2.0 * self.conv_weight.shape[-1] * self.streams[0] + self.scan_flops()),
        }

    def scan_flops(self) -> float:
        """Of the recurrence, for a symbol and neuron: decay, update (2) and readout (2) of every state number."""
        return 5.0 * math.prod(self.dims)
