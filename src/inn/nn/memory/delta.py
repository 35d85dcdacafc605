"""The delta rule as the memory of a neuron (Gated DeltaNet, arXiv 2412.06464)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.memory.base import Parts
from inn.nn.memory.heads import HeadMemory, several
from inn.nn.memory.mamba import exact
from inn.nn.memory.options.delta import DeltaOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig

_REACH = 1.2  # of the sigmoid, about its middle
_LEAST = 1e-6  # added to a key's square: one of zero stays zero


class Delta(HeadMemory):
    """A head keeps a matrix S, and writes where it reads: S ← α S (I - β k kᵀ) + β v kᵀ, y = S q.

    Keys and queries are of length 1. With β up to 2 (`negative`, arXiv 2411.12537) a transition has eigenvalues from
    -1 to 1; with several `products` in a step (arXiv 2502.10297) it can rotate. β is a sigmoid stretched by a fifth and
    cut off, so that 0 and 2 are reached: a flip that is not quite one adds up over hundreds of steps.
    """

    Options = DeltaOptions
    no_decay = (*HeadMemory.no_decay, "beta_bias")

    @classmethod
    def widths(cls, config: GraphConfig) -> tuple[int, ...]:
        own: DeltaOptions = config.memory
        E, keys, n = own.values(config.width), own.heads * own.state, own.products
        return keys + n * (keys + E), E, own.heads * n, *([own.heads] if own.forget else [])

    def make(self, config: GraphConfig) -> None:
        own: DeltaOptions = config.memory
        self.products, self.most, self.forgets = own.products, 1.0 + own.negative, own.forget
        self.beta_bias = nn.Parameter(torch.empty(config.populations, own.heads * own.products))
        if not own.forget:
            self.A_log = self.dt_bias = None

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.beta_bias.zero_()

    def recall(
        self, u: Tensor, others: list[Tensor], state: Parts, reset: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Parts]:
        H, K, V = self.dims
        n = self.products
        q, k, v = u.split((H * K, n * H * K, n * H * V), -1)
        beta = others[0]
        q, k = self._unit(q), self._unit(k)
        beta = torch.sigmoid(beta.to(exact(beta.dtype)) + self.beta_bias)
        beta = self.most * ((beta - 0.5) * _REACH + 0.5).clamp(0, 1)
        decay = self.steps_of(others)[1] if self.forgets else torch.zeros_like(beta[..., :H])
        decay = F.pad(decay, (0, decay.shape[-1] * (n - 1)))  # the first of a step's writes decays
        y, matrix = several(n, q, k, v, decay, beta, state["matrix"], reset, mask)
        return y, {"matrix": matrix}

    def _unit(self, t: Tensor) -> Tensor:
        """Every K numbers of a stream as a vector of length 1."""
        t = t.to(exact(t.dtype)).unflatten(-1, (-1, self.dims[1]))
        return (t * torch.rsqrt(t.square().sum(-1, keepdim=True) + _LEAST)).flatten(-2)

    def time_constants(self, x: Tensor, state: Parts) -> Tensor | None:
        """Of the decay alone: what is not written over lasts so long. None without a decay."""
        return super().time_constants(x, state) if self.forgets else None

    def scan_flops(self) -> float:
        return 8.0 * self.products * math.prod(self.dims)
