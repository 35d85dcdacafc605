"""How a population becomes one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Readout(nn.Module):
    """`mean` (the paper), `attention` (a learned query weighs the neurons, step by step) or `concat`.

    `[B, T, N, D]` -> `[B, T, D]`, or `[B, T, N x D]` for `concat`.
    """

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.kind = config.readout
        self.query = nn.Parameter(torch.zeros(config.width)) if self.kind == "attention" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "concat":
            return x.flatten(2)
        if self.query is None:
            return x.mean(2)
        weights = (x @ self.query.to(x.dtype) * x.shape[-1] ** -0.5).softmax(2)  # [B, T, N]
        return torch.einsum("btn,btnd->btd", weights, x)
