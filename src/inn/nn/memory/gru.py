"""A gated recurrent unit as the memory of a neuron (Cho et al. 2014, arXiv 1406.1078; PyTorch's form)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.memory.recurrent import RecurrentMemory

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class GRU(RecurrentMemory):
    """A reset gate, an update gate and a candidate: it can count and flip, which a decaying sum cannot.

    State part: `h` `[B, N, H]`.
    """

    cell = "gru"
    gates = 3
    no_decay = ("bias", "new_bias")

    def make(self, config: GraphConfig) -> None:
        super().make(config)
        self.new_bias = nn.Parameter(torch.empty(config.populations, self.units))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.new_bias)

    def weights(self) -> tuple[Tensor, ...]:
        return self.heard, self.new_bias

    def told(self, x: Tensor, message: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        weight, bias = self.weights()
        gates, new = self.admitted(message).split((2 * self.units, self.units), -1)
        return x + nn.functional.pad(gates, (0, self.units)), (weight, bias + new[:, 0])  # inside the reset gate
