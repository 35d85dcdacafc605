"""How a population becomes one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from inn.config.parts import Options as PartOptions
from inn.nn.presence import TakesPresent, relayed, relays
from inn.nn.topology.options import EachOptions
from inn.nn.topology.roles import ConcatOptions, ReadoutOptions
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Readout(TakesPresent, nn.Module, ABC):
    """Combines the neurons into one vector: `[B, T, N, D]` -> `[B, T, width(config)]`.

    With a keyword `present`, `[B, T, N]` bool or None, `forward` skips neurons that are absent, which it gets as zeros.

    Attributes:
        Options: the dataclass of the readout's options, which are `config.readout`.
        exchangeable: True if identical neurons give the same output as one of them (`inn.collapse`).
        resizable: True for a readout that heeds the options `silent` and `gains`, so that neurons can be taken out of a
            model and put into it (`inn.keep`, `inn.grow`).
        side_by_side: True for one that gives the neurons that are read one after another, R x D numbers. The norm
            behind it (`inn.nn.last.LastNorm`) then heeds these options in its place.
        gain: `[R]` the weights of the neurons that are read; None where all are 1.
        beside: what a graph has to have beside it, by field (`inn.testing` builds such a graph).
    """

    Options: type[PartOptions] = ReadoutOptions
    exchangeable: ClassVar[bool] = False
    resizable: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = False
    no_decay = ("gain",)
    beside: ClassVar[Mapping[str, Any]] = {}

    places: Tensor | None

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.register_buffer("places", torch.tensor(config.readout.read) if _chosen(config) else None)
        self._read = config.read
        self.silent, gains = getattr(config.readout, "silent", 0.0), getattr(config.readout, "gains", False)
        if (self.silent or gains) and not self.resizable:
            raise InputError(f"readout '{config.readout.kind}' does not heed silent and gains; leave them out")
        own = gains and self.resizable and not self.side_by_side
        self.gain = nn.Parameter(torch.ones(len(config.read))) if own else None

    @torch.no_grad()
    def reset_places(self) -> None:
        """Name the neurons that are read out anew, where `to_empty` has just made room for their numbers."""
        if self.places is not None:
            self.places.copy_(torch.tensor(self._read))
        if self.gain is not None:
            self.gain.fill_(1.0)

    def chosen(self, x: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Of the neurons `[B, T, N, D]`, and of who is there `[B, T, N]`, those that are read out."""
        if self.places is None:
            return x, present
        return x[:, :, self.places], None if present is None else present[:, :, self.places]

    @classmethod
    def width(cls, config: GraphConfig) -> int:
        """Width of what the readout gives: D unless it says otherwise."""
        return config.width

    @classmethod
    def views(cls, config: GraphConfig) -> int:
        """How many equal parts it gives, each of which a model tells something by: the last one is its answer."""
        return 1

    def penalties(self, y: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """What is added to the training loss of what was read `[B, T, F]`: scalars in nats by name."""
        return {}

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """One vector per step, `[B, T, F]`, of the neurons `x` `[B, T, N, D]`."""


def _chosen(config: GraphConfig) -> bool:
    return bool(getattr(config.readout, "read", None))


class Mean(Readout):
    """The mean over the neurons (the paper); with `gains` Σ g x / (Σ g² + silent)."""

    exchangeable = True
    resizable = True

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        x, present = self.chosen(x, present)
        mean = x.mean(2) if self.gain is None and not self.silent else self._weighed(x)
        if present is None:
            return mean
        share = x.shape[2] / present.sum(2, keepdim=True).clamp_min(1).to(x.dtype)  # exactly 1 where all are there
        return mean * share

    def _weighed(self, x: Tensor) -> Tensor:
        if self.gain is None:
            return x.sum(2) / (x.shape[2] + self.silent)
        gain = self.gain.to(x.dtype)
        return torch.einsum("n,btnd->btd", gain, x) / (gain.square().sum() + self.silent)


class Attention(Readout):
    """A learned query weighs the neurons, step by step; with `gains` by g e^s / (Σ g² e^s + silent)."""

    exchangeable = True
    resizable = True

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.query = nn.Parameter(torch.empty(config.width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.query)

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        x, present = self.chosen(x, present)
        scores = x @ self.query.to(x.dtype) * x.shape[-1] ** -0.5  # [B, T, N]
        if present is not None:  # lowest, not -inf: where all are absent, all weigh the same, and are zeros
            scores = scores.masked_fill(~present, torch.finfo(scores.dtype).min)
        if self.gain is None and not self.silent:
            weights = scores.softmax(2)
        else:
            weights = self._weighed(scores)
        return torch.einsum("btn,btnd->btd", weights, x)

    def _weighed(self, scores: Tensor) -> Tensor:
        best = scores.detach().amax(2, keepdim=True).clamp_min(0)  # a silent neuron's score is 0
        each, gain = (scores - best).exp(), 1.0 if self.gain is None else self.gain.to(scores.dtype)
        total = (each * gain * gain).sum(2, keepdim=True) + self.silent * (-best).exp()
        return gain * each / total


class Concat(Readout):
    """All neurons side by side: N x D numbers."""

    Options = ConcatOptions
    resizable = True
    side_by_side = True

    @classmethod
    def width(cls, config: GraphConfig) -> int:
        return len(config.read) * config.width

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        return self.chosen(x)[0].flatten(2)


class Each(Concat):
    """The links of a chain side by side, one view of each; of a link that is absent, the view is of the one before.

    So a model tells something after every link, and training takes the mean of what that costs (after MultiModN, arXiv
    2309.14118). A first link that takes nothing in is the start, a view like the others.
    """

    Options = EachOptions
    resizable = side_by_side = False
    beside = {"topology": {"kind": "chain", "size": 2}}

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.size, self.number, self.change = config.topology.size, self.views(config), config.readout.change

    @classmethod
    def views(cls, config: GraphConfig) -> int:
        return len(config.read) // config.topology.size

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        if present is not None:
            x = relayed(x, *relays(present, self.size))
        return super().forward(x)

    def penalties(self, y: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        if not self.change:
            return {}
        moved = y.unflatten(-1, (self.number, -1)).diff(dim=2).square().sum(-1).mean(2)  # [B, T]
        mean = moved.mean() if mask is None else (moved * mask).sum() / mask.sum().clamp_min(1)
        return {"change": self.change * mean}
