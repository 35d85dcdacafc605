"""What memories whose state is a matrix per head have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.direct import at_rest
from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.mamba import exact, inverse_softplus
from inn.nn.memory.options.heads import HeadsOptions
from inn.nn.population import NeuronLinear, flops_of, neuron_map
from inn.nn.presence import conv_of_present, counted
from inn.ops import delta_scan

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
        low, high = map(math.log, self.steps)
        if self.A_log is not None:
            self.A_log.copy_(torch.empty_like(self.A_log, dtype=exact(self.A_log.dtype)).uniform_(1, 16).log())
        if self.dt_bias is not None:
            steps = torch.empty_like(self.dt_bias, dtype=exact(self.dt_bias.dtype)).uniform_(low, high).exp()
            self.dt_bias.copy_(inverse_softplus(steps))

    @classmethod
    @abstractmethod
    def widths(cls, config: GraphConfig) -> tuple[int, ...]:
        """How many numbers a neuron takes in: C for the convolution, E for the output gate, others, H for steps."""

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        return sum(cls.widths(config))

    def initial_state(self, batch: int) -> Parts:
        before = (self.conv_weight.shape[-1] - 1, self.streams[0])
        shapes = {"conv": before, "matrix": self.dims}
        return {name: at_rest(self, self.conv_bias, batch, self.neurons, *own) for name, own in shapes.items()}

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
        u, conv = conv_of_present(u, self.conv_weight, self.conv_bias, state["conv"], reset, mask, present)
        y, after = self.recall(u, others, state, reset, counted(mask, present))
        return self.out_proj(y.to(z.dtype) * F.silu(z)), {"conv": conv, **after}

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

    def steps_of(self, others: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Step sizes Δ and the logarithms of the decays Δ A, `[B, T, N, H]` each."""
        step = F.softplus(others[-1].to(exact(others[-1].dtype)) + self.dt_bias)
        return step, step * -self.A_log.to(step.dtype).exp()

    def time_constants(self, x: Tensor, state: Parts) -> Tensor | None:
        """A head's state decays by exp(Δ A) at every symbol: τ = 1 / |Δ A|, its mean over `x`, `[N, H]`."""
        decay = self.steps_of(list(self.read(x)[2:]))[1].detach()
        return -1 / decay.double().mean((0, 1)).clamp_max(-1e-300)

    def flops(self) -> dict[str, float]:
        return {
            "memory.matrices": flops_of(self.neurons, self.in_proj, self.out_proj),
            "memory.scan": self.neurons * (2.0 * self.conv_weight.shape[-1] * self.streams[0] + self.scan_flops()),
        }

    def scan_flops(self) -> float:
        """Of the recurrence, for a symbol and neuron: decay, update (2) and readout (2) of every state number."""
        return 5.0 * math.prod(self.dims)


def several(
    n: int,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor | None,
    state: Tensor,
    reset: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """`delta_scan` with n writes at each step, one after another, of which the last is read.

    All streams but q hold what the writes take beside one another, `[B, T, N, n x ...]`.
    """
    if n == 1:
        return delta_scan(q, k, v, decay, beta, state, reset, mask)
    q = F.pad(q, (q.shape[-1] * (n - 1), 0))
    q, k, v, decay = (_one_by_one(t, n) for t in (q, k, v, decay))
    beta = None if beta is None else _one_by_one(beta, n)
    if reset is not None:
        reset = F.pad(reset[..., None], (0, n - 1)).flatten(1)
    if mask is not None:
        mask = mask.repeat_interleave(n, 1)
    y, state = delta_scan(q, k, v, decay, beta, state, reset, mask)
    return y[:, n - 1 :: n], state


def _one_by_one(t: Tensor, n: int) -> Tensor:
    """What n parts of a step hold, as n steps: `[B, T, N, n x W]` -> `[B, T x n, N, W]`."""
    return t.unflatten(-1, (n, -1)).transpose(2, 3).flatten(1, 2)
