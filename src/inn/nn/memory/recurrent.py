"""What memories by a non-linear recurrence have in common: maps in and out, and a cell in the loop over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from inn.nn.direct import home
from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.options.recurrent import RecurrentOptions
from inn.nn.population import NeuronLinear, neuron_map
from inn.ops import recurrence
from inn.ops.loop.reference import recurrence_reference

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class RecurrentMemory(Memory):
    """A cell of `inn.ops.recurrence` inside every neuron: no norm, no residual.

    Each state is a part `[B, N, H]`, H = `expand` x D; where that is above 1 an out-projection gives `[B, T, N, D]`,
    else what comes out is the first state itself.

    Attributes:
        cell: its name.
        parts: the names of its states, in the cell's order.
        gates: what it takes in at a step, I, is `gates` x H.
        heard: the recurrent weight `[P, gates x H, H]`, through which a neuron hears its own first state.
    """

    Options = RecurrentOptions
    cell: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ("h",)
    takes_message = True
    gates: ClassVar[int]
    no_decay = ("bias",)

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.neurons, P = config.neurons, config.populations
        D, self.units = config.width, config.memory.units(config.width)
        self.in_proj = None if config.into_memory else neuron_map(config, D, self.gates * self.units)
        self.bias = nn.Parameter(torch.empty(P, self.gates * self.units))
        self.heard = nn.Parameter(torch.empty(P, self.gates * self.units, self.units))
        self.out_proj = None if config.memory.expand == 1 else NeuronLinear(P, self.units, D)
        self.make(config)
        self.reset_parameters()

    def make(self, config: GraphConfig) -> None:
        """Make the parameters that the cell has beside `bias` and `heard`; `reset_parameters` starts them."""

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Weights start as PyTorch's do, biases at zero."""
        bound = 1 / math.sqrt(self.units)
        self.heard.uniform_(-bound, bound)
        self.bias.zero_()

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        """A number for each gate of every unit."""
        return cls.gates * config.memory.units(config.width)

    def initial_state(self, batch: int) -> Parts:
        like = {"device": home(self, self.bias), "dtype": torch.promote_types(self.bias.dtype, torch.float32)}
        return {name: torch.zeros(batch, self.neurons, self.units, **like) for name in self.parts}

    def weights(self) -> tuple[Tensor, ...]:
        """What the cell takes, the recurrent weight first."""
        return (self.heard,)

    def told(self, x: Tensor, message: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What goes into one step `[B, 1, N, I]`, and what the cell takes, where others are heard beside itself."""
        return x + message, self.weights()

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
        message: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        x = x if self.in_proj is None else self.in_proj(x)
        if present is not None:
            mask = present if mask is None else present & mask[..., None]
        before = torch.stack([state[name] for name in self.parts], 2)
        x = x + self.bias.to(x.dtype)
        if message is None:
            y, after = recurrence(self.cell, x, before, reset, mask, *self.weights())
        else:
            x, weights = self.told(x, message)
            y, after = recurrence_reference(self.cell, x, before, reset, mask, *weights)
        y = y if self.out_proj is None else self.out_proj(y)
        return y, dict(zip(self.parts, after.unbind(2)))

    def flops(self) -> dict[str, float]:
        maps = [m for m in (self.in_proj, self.out_proj) if m is not None]
        own = 2.0 * self.neurons * self.heard.shape[1] * self.units
        return {
            "memory.matrices": sum(m.flops(self.neurons) for m in maps) + own,
            # per gate an activation and its part in the sum
            "memory.scan": 2.0 * self.neurons * self.gates * self.units,
        }
