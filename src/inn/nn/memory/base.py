"""The protocol of a memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from inn.config.parts import Options as PartOptions
from inn.nn.presence import TakesPresent

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.packing import Packed

Parts = dict[str, Tensor]


class Memory(TakesPresent, nn.Module, ABC):
    """The recurrent part of every neuron in a population: a hidden state over time. Neurons do not interact inside it.

    Any split of the time axis gives the same result as one pass; gradients flow through the output and through the
    state both ways; the state given is never changed.

    Args:
        config: of the graph; in a mixed population of this memory's group, N being the group's. The memory's own
            options are `config.memory`, an instance of its class's `Options`.

    Attributes:
        Options: the dataclass of the memory's options.
        main_part: the part of the state that the memory lives in; the first one when not given.
        takes_message: whether `forward` has a keyword `message`, of one step `[B, 1, N, inputs]`: what dendrites with
            a lag bring, which acts where the memory hears itself and not where its input does.
    """

    neurons: int
    takes_message: ClassVar[bool] = False

    Options: type[PartOptions] = PartOptions
    main_part: ClassVar[str | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.takes_message = "message" in signature(cls.forward).parameters

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.neurons = config.neurons

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        """Numbers per neuron that a router into the memory (`dendrites`) hands over; D unless a memory overrides it."""
        return config.width

    @abstractmethod
    def initial_state(self, batch: int) -> Parts:
        """The state before the first step: named parts, each `[B, N, ...]`, float32 (float64 in a float64 model).

        A memory that carries nothing has none.
        """

    @abstractmethod
    def forward(
        self, x: Tensor, state: Parts, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Parts]:
        """Read `x` `[B, T, N, D]` and return what each neuron recalls, `[B, T, N, D]`, with the new state.

        A third value, if any, is what the memory adds to the training loss: scalars in nats, by name.

        Args:
            x: the neurons' inputs; behind a router into the memory (`config.into_memory`), what this one brings in,
                `[B, T, N, self.inputs(config)]`.
            state: the parts that `initial_state` names.
            reset: `[B, T]` bool; where true the state starts afresh before this step.
            mask: `[B, T]` bool; where false the state passes through unchanged (the output there means nothing).

        With a keyword `present`, `[B, T, N]` bool or None, a memory skips absent neurons by itself, as `mask` does
        whole steps; without one the graph does it, step by step where they come and go. With a keyword `dt`, `[B, T]`
        or None, it is told the time since the step before, where that is known (1 is what it takes where it is not).
        """

    def step_(self, x: Tensor, state: Parts) -> Tensor:
        """`forward` over one step that changes the state in place; memories may have a faster way."""
        y, new = self(x, state)
        for name, part in new.items():
            state[name].copy_(part)
        return y

    def packs(self, x: Tensor) -> bool:
        """Whether `of_rows` stands for `forward` on tensors like `x`, and may be called in its place."""
        return False

    def of_rows(self, x: Tensor, state: Parts, rows: Packed) -> tuple[Tensor, Parts]:
        """`forward` over the steps at which neurons take part, as a list `[R, D]`, and no others."""
        raise NotImplementedError

    def sizes(self, state: Parts) -> Tensor:
        """How much each neuron remembers, `[B, N]`: the root mean square of the state's main part.

        `[1, N]` zeros of a memory without a state.
        """
        if (place := self.place(0)) is None:
            return torch.zeros(1, self.neurons, device=next((p.device for p in self.parameters()), None))
        part = state[place[0]].flatten(2)
        return torch.linalg.vector_norm(part, dim=-1) / part.shape[-1] ** 0.5

    def place(self, neuron: int) -> tuple[str, int] | None:
        """Where a neuron's memory lives: the state's part, and the neuron's place on its second axis.

        None where there is no state.
        """
        part = self.main_part or next(iter(self.initial_state(1)), None)
        return None if part is None else (part, neuron)

    def time_constants(self, x: Tensor, state: Parts) -> Tensor | None:
        """Time constants in steps of each neuron's memory over inputs as `forward` takes them, `[N, M]`.

        None for a memory that has none.
        """
        return None

    @abstractmethod
    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol of the whole population, by part."""
