"""The protocol of a gate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from inn.config.parts import Options as PartOptions
from inn.nn.masked import like
from inn.nn.presence import counted

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Gate(nn.Module, ABC):
    """What neurons decide at each step: how loud they send, or whether they take part at all.

    One gate per round, asked of the neurons after the norm before the router; or one per graph, asked once.

    Args:
        config: of the graph; the gate's own options are `config.gate`, an instance of its class's `Options`.

    Attributes:
        rests: whether a neuron whose gate is closed rests: it neither hears, remembers nor is heard, its state and it
            itself pass on as they are, and the factor of those that do not rest scales what a round puts to them.
            Otherwise the factor scales what neurons send.
        once: whether the graph asks, of its input, before the first round, and who rests does so in all rounds; only
            with `rests`.
        share: the part of the neurons that takes part in a round, at most, where that is known beforehand.
        Options: the dataclass of the gate's options.
    """

    rests: ClassVar[bool] = False
    once: ClassVar[bool] = False
    share: float = 1.0
    Options: type[PartOptions] = PartOptions

    def __init__(self, config: GraphConfig):
        super().__init__()

    @abstractmethod
    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor, dict[str, Tensor]]:
        """Return who takes part, `[B, T, N]` bool (None without `rests`), the factors `[B, T, N]`, and penalties.

        Penalties are scalars by name; the one named `gate`, the mean of the gates (`mean_of`), is weighed by
        `gate_penalty`, others are in nats.

        Args:
            x: `[B, T, N, D]` the neurons; steps and streams do not meet in a gate.
            mask: `[B, T]` bool, the steps that count; the others count in no penalty.
            present: `[B, T, N]` bool, the neurons that are there; the others count in no penalty, and stay absent
                whatever the gate says.
        """

    def known(self, symbols: Tensor) -> Tensor | None:
        """Who takes these symbols `[B, T]`, `[B, T, N]` bool, where that is given beforehand; None: `forward` says."""
        return None

    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol of the whole population, by part."""
        return {}


def mean_of(g: Tensor, mask: Tensor | None, present: Tensor | None) -> Tensor:
    """The mean of gates `[B, T, N]` over the steps that a mask leaves, and the neurons that are present."""
    if (counts := counted(mask, present)) is None:
        return g.mean()
    many = counts.sum().clamp(min=1) * (1 if counts.ndim == 3 else g.shape[-1])
    return g.masked_fill(~like(counts, g), 0).sum() / many
