"""LoRA of graphs of neurons: a frozen copy with a low-rank change of its maps."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from inn.nn.population import NeuronLinear


class LowRank(nn.Module):
    """W + B A of a map's weight `[P, O, I]` or `[O, I]`, for each set of weights by itself; B starts at zero."""

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        *sets, out, into = weight.shape
        self.a = nn.Parameter(torch.randn(*sets, rank, into) / into**0.5)
        self.b = nn.Parameter(torch.zeros(*sets, out, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.b @ self.a


def adapted(model: Any, rank: int, least: int = 0) -> Any:
    """A copy that is frozen, with a low-rank change of every map in its rounds that is wider than `least` both ways."""
    new = copy.deepcopy(model).requires_grad_(False)
    maps = [m for m in new.graph.rounds.modules() if isinstance(m, NeuronLinear)]
    for m in maps:
        if min(m.weight.shape[-2:]) > least:
            parametrize.register_parametrization(m, "weight", LowRank(m.weight, rank))
    return new
