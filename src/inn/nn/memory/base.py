"""The protocol of a memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig

Parts = dict[str, Tensor]


class Memory(nn.Module, ABC):
    """Carries state over time for each neuron of a population; neurons never meet inside a memory.

    Any split of the time axis gives the same result as one pass; gradients flow through the output and through the
    state both ways; the state given is never changed.
    """

    def __init__(self, config: GraphConfig):
        super().__init__()

    @abstractmethod
    def initial_state(self, batch: int) -> Parts:
        """The state before the first step: named parts, each `[B, N, ...]`, float32 (float64 in a float64 model)."""

    @abstractmethod
    def forward(
        self, x: Tensor, state: Parts, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Parts]:
        """Read `x` `[B, T, N, D]` and return what each neuron recalls, `[B, T, N, D]`, with the new state.

        A third value, if any, is what the memory adds to the training loss: scalars in nats, by name.

        Args:
            x: the neurons' inputs; behind dendrites, what these bring in, `[B, T, N, config.memory_inputs]`.
            state: the parts that `initial_state` names.
            reset: `[B, T]` bool; where true the state starts afresh before this step.
            mask: `[B, T]` bool; where false the state passes through unchanged (the output there means nothing).
        """

    def step_(self, x: Tensor, state: Parts) -> Tensor:
        """`forward` over one step that changes the state in place; memories may have a faster way."""
        y, new = self(x, state)
        for name, part in new.items():
            state[name].copy_(part)
        return y

    @abstractmethod
    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol of the whole population, by part."""
