"""What a model tells by each of the views that its readout gives (`Readout.views`), and how they are normalised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inn.nn.last import LastNorm
from inn.nn.parts import PartsNorm
from inn.ops.norm.reference import EPSILON
from inn.registry import READOUTS
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class ViewLayerNorm(nn.LayerNorm):
    """A layer norm of each view by itself: `[..., K x D]` -> the same."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.unflatten(-1, (-1, *self.normalized_shape))).flatten(-2)


class ViewRMSNorm(nn.RMSNorm):
    """An RMS norm of each view by itself: `[..., K x D]` -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unflatten(-1, (-1, *self.normalized_shape))).flatten(-2)


def readout_norm(config: GraphConfig) -> Any:
    """The norm between readout and head, `[..., readout_width]` -> the same, or `[..., normed_width]` of one view."""
    own = config.readout
    if hasattr(own, "parts"):
        parts = config.readouts
        return PartsNorm(map(readout_norm, parts), [part.readout_width for part in parts])
    if config.norm == "none":
        return nn.Identity()
    if READOUTS[own.kind].side_by_side and (getattr(own, "silent", 0) or getattr(own, "gains", False)):
        return LastNorm(config)
    one = config.views == 1
    if config.norm == "layer":
        return (nn.LayerNorm if one else ViewLayerNorm)(config.view_width)
    return (nn.RMSNorm if one else ViewRMSNorm)(config.view_width, EPSILON)


def told(tell: Callable[[Tensor], Tensor], hidden: Tensor, views: int, every: bool) -> Tensor:
    """What is told of the last of the views `[B, T, K x D]`, or of every one, `[B, T, K, ...]`.

    `tell` makes something of one view `[B, T, D]`. Raises `InputError` for every one of a single view.
    """
    if views == 1:
        if every:
            raise InputError("this model's readout has one view, which it tells of anyhow; leave `every` out")
        return tell(hidden)
    each = hidden.unflatten(-1, (views, -1))
    return tell(each.flatten(1, 2)).unflatten(1, each.shape[1:3]) if every else tell(each[..., -1, :])


def told_by_all(model: Any) -> Mapping[str, bool]:
    """What a model is called with, so that it tells something by each view: nothing where its readout has but one."""
    graph = getattr(model, "graph", None)
    return {"every": True} if graph is not None and graph.config.views > 1 else {}


def mean_loss(model: Any, y: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """The mean over the views of the loss of what was told by them, `[B, T, K, ...]`, summed over the targets."""
    return torch.stack([model.loss(one, targets, weights) for one in y.unbind(2)]).mean()
