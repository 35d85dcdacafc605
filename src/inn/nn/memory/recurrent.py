"""What memories by a non-linear recurrence have in common: maps in and out, and a cell in the loop over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from inn.nn.direct import at_rest
from inn.nn.masked import like
from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.options.recurrent import RecurrentOptions
from inn.nn.population import NeuronLinear, flops_of, neuron_map
from inn.nn.presence import counted
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
        maps_in, maps_out: whether an in-projection makes what it takes in where no router does, and whether there is
            an out-projection in any case.
        parts: the names of its states, in the cell's order.
        gates: what it takes in at a step, I, is `gates` x H.
        bias: `[P, gates x H]`, added to what it takes in.
        heard: the recurrent weight `[P, gates x H, H]`, through which a neuron hears its own first state.
    """

    Options = RecurrentOptions
    cell: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ("h",)
    gates: ClassVar[int]
    maps_in: ClassVar[bool] = True
    maps_out: ClassVar[bool] = False
    no_decay = ("bias",)
    matrix_weights = ("heard",)
    bias: Tensor
    heard: Tensor

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        D, self.units = config.width, config.memory.units(config.width)
        mapped, out = self.maps_in and not config.into_memory, self.maps_out or config.memory.expand > 1
        self.in_proj = neuron_map(config, D, self.inputs(config)) if mapped else None
        self.make(config)
        self.out_proj = NeuronLinear(config.populations, self.units, D) if out else None
        self.reset_parameters()

    def make(self, config: GraphConfig) -> None:
        """Make the cell's parameters; `reset_parameters` starts them."""
        P, size = config.populations, self.gates * self.units
        self.bias = nn.Parameter(torch.empty(P, size))
        self.heard = nn.Parameter(torch.empty(P, size, self.units))

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
        return {name: at_rest(self, self.bias, batch, self.neurons, self.units) for name in self.parts}

    def weights(self) -> tuple[Tensor, ...]:
        """What the cell takes, the recurrent weight first."""
        return (self.heard,)

    def taken(self, x: Tensor) -> Tensor:
        """What the cell takes in, of what comes in `[B, T, N, I]`: the same and the bias."""
        return x + self.bias.to(x.dtype)

    def admitted(self, message: Tensor) -> Tensor:
        """What of a message of others `[..., I]` reaches the cell."""
        return message

    def told(self, x: Tensor, message: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What goes into one step `[B, 1, N, I]`, and what the cell takes, where others are heard beside itself."""
        return x + self.admitted(message), self.weights()

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
        return self.run(x, state, reset, mask, present, self.weights(), message)

    def run(
        self,
        x: Tensor,
        state: Parts,
        reset: Tensor | None,
        mask: Tensor | None,
        present: Tensor | None,
        weights: tuple[Tensor, ...],
        message: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        """`forward` with the cell's weights given."""
        x, mask = sheltered(x, mask, present)
        x = self.taken(x if self.in_proj is None else self.in_proj(x))
        before = torch.stack([state[name] for name in self.parts], 2)
        if message is None:
            y, after = recurrence(self.cell, x, before, reset, mask, *weights)
        else:
            x, own = self.told(x, message)
            weights = (*own, *weights[len(own) :])
            y, after = recurrence_reference(self.cell, x, before, reset, mask, *weights)
        y = y if self.out_proj is None else self.out_proj(y)
        return y, dict(zip(self.parts, after.unbind(2)))

    def flops(self) -> dict[str, float]:
        maps = flops_of(self.neurons, self.in_proj, self.out_proj)
        return {
            "memory.matrices": maps + 2.0 * self.neurons * self.heard[0].numel(),
            # per gate an activation and its part in the sum
            "memory.scan": 2.0 * self.neurons * self.heard[0].numel() / self.units,
        }


def sheltered(x: Tensor, mask: Tensor | None, present: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Inputs `[B, T, N, I]` with zeros where a mask or an absence leaves a step out, and both as one mask."""
    if (mask := counted(mask, present)) is None:
        return x, None
    return x.masked_fill(~like(mask, x), 0), mask
