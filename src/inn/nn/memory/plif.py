"""Leaky integrate-and-fire units that learn their time constants."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from inn.nn.memory.lif import LIF
from inn.nn.memory.options.spiking import PLIFOptions


class PLIF(LIF):
    """v ← v + (I - v) σ(w), w learned from -ln(τ - 1) on (Fang et al. 2021, arXiv 2007.05785); the rest as `LIF`."""

    Options = PLIFOptions
    no_decay = ("w",)

    def make(self, config) -> None:
        super().make(config)
        self.w = nn.Parameter(torch.empty(config.populations, self.units))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.w.fill_(-math.log(self.tau - 1))

    def leak(self) -> tuple[Tensor, float]:
        return torch.sigmoid(self.w), 1.0
