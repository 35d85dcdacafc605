"""The protocol of an inner map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from inn.config.parts import Options as PartOptions

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class InnerMap(nn.Module, ABC):
    """What a neuron makes of its own numbers, `[B, T, N, D]` -> the same; neither steps nor neurons meet inside it.

    A round adds it at its end, behind memory and messages: x ← x + inner(LN x). Those that come with the library give
    zeros at first, so that a graph with one begins as the graph without it.

    Args:
        config: of the graph; the map's own options are `config.inner`, an instance of its class's `Options`.

    Attributes:
        Options: the dataclass of the map's options.
        normed: False for a map of the numbers as they are, without the norm.
    """

    Options: type[PartOptions] = PartOptions
    normed: ClassVar[bool] = True

    def __init__(self, config: GraphConfig):
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """What every neuron adds to itself, `[B, T, N, D]`, of the neurons `x` `[B, T, N, D]`."""

    def clamped(self, x: Tensor) -> Tensor | None:
        """The share of the numbers of each neuron that are outside the map's range, `[B, T, N]`; None without one."""
        return None

    @abstractmethod
    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol of the whole population, by part."""
