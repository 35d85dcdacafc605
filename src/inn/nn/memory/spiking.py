"""What spiking memories have in common: maps to currents and from spikes; what is between is a kind's own."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from inn.nn.direct import at_rest
from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.options.spiking import SpikingOptions
from inn.nn.population import NeuronLinear, flops_of, neuron_map

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class SpikingMemory(Memory):
    """In-projection to currents, spikes of H = `expand` x D units, out-projection of the spikes; no norm, no residual.

    Attributes:
        spiking: the maps that are given spikes, zeros and ones: what they add up needs no multiplication.
    """

    spiking = ("out_proj",)

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        own: SpikingOptions = config.memory
        self.units, self.threshold = self.inputs(config), own.threshold
        self.in_proj = None if config.into_memory else neuron_map(config, config.width, self.units)
        self.make(config)
        self.out_proj = NeuronLinear(config.populations, self.units, config.width)

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        """A current for every unit."""
        return config.memory.expand * config.width

    def make(self, config: GraphConfig) -> None:
        """Make the kind's own parameters."""

    @abstractmethod
    def fire(
        self, current: Tensor, state: Parts, reset: Tensor | None, mask: Tensor | None, present: Tensor | None
    ) -> tuple[Tensor, Parts]:
        """The spikes of currents `[B, T, N, H]`, and the new state; the rest as `forward` has it."""

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        current = x if self.in_proj is None else self.in_proj(x)
        spikes, new = self.fire(current, state, reset, mask, present)
        return self.out_proj(spikes.to(x.dtype)), new

    def empty(self, batch: int, *shape: int) -> Tensor:
        """A part of the state at rest, `[B, N, ...]`."""
        return at_rest(self, self.out_proj.weight, batch, self.neurons, *shape)

    def flops(self) -> dict[str, float]:
        return {"memory.matrices": flops_of(self.neurons, self.in_proj, self.out_proj)}
