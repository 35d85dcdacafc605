"""Long short-term memory as the memory of a neuron (Hochreiter & Schmidhuber 1997; PyTorch's form)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from inn.nn.memory.options.lstm import LSTMOptions
from inn.nn.memory.recurrent import RecurrentMemory

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class LSTM(RecurrentMemory):
    """Input, forget and output gates around a cell that adds up: it can count, and keep what it counted.

    State parts: `h` and `c` `[B, N, H]`.
    """

    Options = LSTMOptions
    cell = "lstm"
    parts = ("h", "c")
    main_part = "c"
    gates = 4

    def make(self, config: GraphConfig) -> None:
        super().make(config)
        self.forget = config.memory.forget

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.bias[:, self.units : 2 * self.units] = self.forget
