"""Separable: sums of products of functions of one number each (after arXiv 2603.12244)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.inner.base import InnerMap
from inn.nn.inner.options import SeparableOptions
from inn.nn.population import NeuronLinear

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Products(nn.Module):
    """R products of functions of one number each: `[B, T, N, D]` -> `[B, T, N, R]`.

    A factor is φ_rd(x_d) = c + v · tanh(w x_d + b), with H hidden units. It starts near 1: a product of numbers near 0
    has no gradient. With `order` k a product is the mean over all sets of k of the D factors.

    >>> Products(1, 4, terms=3)(torch.randn(2, 5, 1, 4)).shape
    torch.Size([2, 5, 1, 3])
    """

    no_decay = ("constant", "shift")

    def __init__(self, populations: int, width: int, terms: int = 8, hidden: int = 8, order: int | None = None):
        super().__init__()
        self.order = width if order is None else order
        self.constant = nn.Parameter(torch.empty(populations, terms, width))
        self.scale, self.shift, self.weight = (
            nn.Parameter(torch.empty(populations, terms, width, hidden)) for _ in range(3)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.constant)
        nn.init.normal_(self.scale)
        nn.init.uniform_(self.shift, -1.0, 1.0)
        nn.init.normal_(self.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        hidden = torch.tanh(exact[..., None, :, None] * self.scale + self.shift)  # [B, T, N, R, D, H]
        factors = (hidden * self.weight).sum(-1) + self.constant
        return _products(factors.unbind(-1), self.order).to(x.dtype)

    def flops(self, neurons: int) -> float:
        """FLOPs for one symbol of `neurons` neurons: 5 per hidden unit, 2 per factor and size of a set."""
        _, terms, width, hidden = self.weight.shape
        return float(neurons * terms * width * (5 * hidden + 2 * min(self.order, width - self.order + 1)))


def _products(factors: tuple[Tensor, ...], order: int) -> Tensor:
    """The mean over all sets of `order` factors of their product."""
    count, of = len(factors), {0: torch.ones_like(factors[0])}  # of[k]: the sum over sets of k of the factors so far
    for i, factor in enumerate(factors, 1):
        now = {}
        for k in range(max(0, order - (count - i)), min(i, order) + 1):  # smaller ones would not get to `order`
            longer = of[k - 1] * factor if k - 1 in of else None
            now[k] = of[k] if longer is None else of[k] + longer if k in of else longer
        of = now
    return of[order] / math.comb(count, order)


class Separable(InnerMap):
    """y_o = Σ_r w_or Π_d φ_rd(x_d), w at zero at the start; see `Products`."""

    Options = SeparableOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        own: SeparableOptions = config.inner
        self.neurons, P, D = config.neurons, config.populations, config.width
        self.products = Products(P, D, own.terms, own.hidden, own.order)
        self.out = NeuronLinear(P, own.terms, D, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.products(x))

    def flops(self) -> dict[str, float]:
        return {"inner.matrices": self.out.flops(self.neurons), "inner.functions": self.products.flops(self.neurons)}
