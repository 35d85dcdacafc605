"""Neurons that stay out of a step (sparse modular activation; after arXiv 2306.11197)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.gates.base import Gate, mean_of
from inn.nn.gates.options import ActiveOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Active(Gate):
    """p = σ((w · x + b) / T): a neuron takes part in a round where p > ½, and what it gains there is scaled by p.

    So the decision is hard, and the gradient goes through p. T is learned, from 0.3 √D on. The penalty is the mean
    over all steps of p where it is above ½, and of 0 elsewhere: the price of taking part. With the
    option `bias` at 2 neurons begin active, p = 0.88.
    """

    rests = True
    no_decay = ("weight", "bias", "log_temperature")
    Options = ActiveOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.first = config.gate.bias
        self.neurons = config.neurons
        self.weight = nn.Parameter(torch.empty(config.populations, config.width))
        self.bias = nn.Parameter(torch.empty(config.populations))
        self.log_temperature = nn.Parameter(torch.empty(config.populations))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        temperature = 0.3 * math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -1 / math.sqrt(self.weight.shape[1]), 1 / math.sqrt(self.weight.shape[1]))
        nn.init.constant_(self.bias, self.first * temperature)
        nn.init.constant_(self.log_temperature, math.log(temperature))

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        score = (x * self.weight.to(x.dtype)).sum(-1) + self.bias
        p, awake = torch.sigmoid(score / self.log_temperature.exp()), score > 0
        return awake, p, {"gate": mean_of(p * awake, mask, present)}

    def flops(self) -> dict[str, float]:
        return {"gate": 2.0 * self.neurons * self.weight.shape[1]}
