"""Parts of a population that are read by themselves, and what a model has for them: a norm each, and a mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.population import Linear, project
from inn.nn.readout import Readout
from inn.nn.topology.roles import PartsOptions
from inn.registry import READOUTS
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Parts(Readout):
    """What several readouts make of their own neurons, side by side: `[B, T, N, D]` -> `[B, T, F]`.

    A model norms each part by itself and tells the mean of what the parts say, each with a bias of its own. So models
    are joined into one (`inn.merge`): its logits are the mean of theirs, its probabilities their normalised product.
    """

    Options = PartsOptions
    resizable = True

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        own = config.readouts
        if several := [c.readout.kind for c in own if c.views > 1]:
            raise InputError(f"a part cannot be read by readout '{several[0]}', which has views; use another")
        self.parts = nn.ModuleList(READOUTS[c.readout.kind](c) for c in own)

    @torch.no_grad()
    def reset_places(self) -> None:
        super().reset_places()
        for part in self.parts:
            part.reset_places()  # type: ignore[operator]

    @classmethod
    def width(cls, config: GraphConfig) -> int:
        return sum(c.readout_width for c in config.readouts)

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        told = {} if present is None else {"present": present}
        return torch.cat([part(x, **told) for part in self.parts], -1)


class PartsNorm(nn.Module):
    """A norm for each part of what was read: `[..., F]` -> `[..., F']`.

    >>> PartsNorm([nn.LayerNorm(2), nn.Identity()], [2, 1])(torch.ones(3)).tolist()
    [0.0, 0.0, 1.0]
    """

    def __init__(self, norms: Iterable[nn.Module], widths: Sequence[int]):
        super().__init__()
        self.parts, self.widths = nn.ModuleList(norms), [*widths]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([norm(one) for norm, one in zip(self.parts, x.split(self.widths, -1))], -1)


class MeanLinear(Linear):
    """The mean of what linear maps of several parts say, of which each has a bias `[P, O]`: `[..., F]` -> `[..., O]`.

    >>> MeanLinear(4, 3, parts=2)(torch.zeros(1, 5, 4)).shape
    torch.Size([1, 5, 3])
    """

    no_decay = ("bias",)

    def __init__(self, inputs: int, outputs: int, parts: int):
        super().__init__(inputs, outputs)
        self.bias = nn.Parameter(torch.empty(parts, outputs))
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return mean_of(input, self.weight, self.bias)


def mean_of(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The mean over the parts of what their maps, side by side in `weight` `[O, F]`, say of their part of `x`."""
    return project(x, weight, bias.sum(0)) / len(bias)
