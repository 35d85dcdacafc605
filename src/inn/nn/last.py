"""The norm behind the readout of a model, which remembers neurons that were taken out, and lets in those put in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.descriptors import organs_on
from inn.ops.norm.reference import EPSILON

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class LastNorm(nn.Module):
    """A norm over neurons side by side, some of which count less, and some of which are not there any more.

    Neuron n has a gain g (1 without `gains`): what it holds counts g² times in mean and variance, and comes out g
    times as large. Of `silent` neurons more the zeros count: mean = Σ g² x / W and variance = Σ g² x² / W - mean²,
    W = D (Σ g² + silent). A layer norm does not leave their places at zero; what it makes of each number there,
    -mean / deviation, is the last number that comes out.

    Where neurons are of organs, `on` `[..., R]` says who counts at each step; without it those of no organ do.

    >>> from inn.config.graph import GraphConfig
    >>> norm = LastNorm(GraphConfig(neurons=2, width=4, readout={"kind": "concat", "silent": 1.0}))
    >>> norm(torch.randn(3, 8)).shape
    torch.Size([3, 9])
    """

    no_decay = ("weight", "bias", "gain")
    always: Tensor | None

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.width, self.silent, count = config.width, config.readout.silent, len(config.read)
        self.config, organs = config, getattr(config.readout, "organs", [])
        self.register_buffer("always", organs_on(config)[0] if organs else None)
        self.rest = config.normed_width > config.readout_width
        self.weight = nn.Parameter(torch.empty(count * config.width))
        self.bias = nn.Parameter(torch.empty(count * config.width)) if config.norm == "layer" else None
        self.gain = nn.Parameter(torch.empty(count)) if config.readout.gains else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for t, start in ((self.weight, 1.0), (self.bias, 0.0), (self.gain, 1.0)):
            if t is not None:
                t.fill_(start)
        if self.always is not None:
            self.always.copy_(organs_on(self.config)[0])

    def gains(self, x: Tensor, on: Tensor | None = None) -> Tensor | None:
        """What each number counts, `[..., N x D]`, or all of them 1 (None); see the class for `on`."""
        if self.gain is None:
            return None
        gain = self.gain.to(x.dtype)
        if self.always is not None:
            gain = gain * (self.always if on is None else on).to(x.dtype)
        return gain.repeat_interleave(self.width, -1)

    def moments(self, x: Tensor, gain: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """Mean and variance `[..., 1]` of `x` `[..., N x D]`, each number counting by its gain; an RMS norm takes no
        mean off."""
        share = torch.ones_like(x[..., :1]) if gain is None else gain.square()
        silent = self.silent * self.width
        total = (x.shape[-1] if gain is None else share.sum(-1, keepdim=True)) + silent
        if self.bias is None:
            return None, (share * x.square()).sum(-1, keepdim=True) / total
        mean = (share * x).sum(-1, keepdim=True) / total
        return mean, ((share * (x - mean).square()).sum(-1, keepdim=True) + silent * mean.square()) / total

    def forward(self, x: Tensor, on: Tensor | None = None, *, variance: Tensor | None = None) -> Tensor:
        """`[..., N x D]` -> the same, or one number more; `variance` takes the place of the numbers' own."""
        y = x.to(torch.promote_types(x.dtype, torch.float32))
        gain = self.gains(y, on)
        mean, own = self.moments(y, gain)
        scale = torch.rsqrt((own if variance is None else variance) + EPSILON)
        weight = self.weight.to(y.dtype) if gain is None else self.weight.to(y.dtype) * gain
        if self.bias is None or mean is None:
            return (y * scale * weight).to(x.dtype)
        bias = self.bias.to(y.dtype) if gain is None else self.bias.to(y.dtype) * gain
        out = (y - mean) * scale * weight + bias
        return (torch.cat((out, -mean * scale), -1) if self.rest else out).to(x.dtype)
