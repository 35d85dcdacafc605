"""Convolutions of one place, 1 or 1 x 1: linear maps of the channels, which stand second and not last."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inn.compress.modules import NeuronalLinear


def is_pointwise(module: nn.Module) -> bool:
    """Whether a module is a convolution that maps all channels at every place, or every few places, by itself."""
    return (
        isinstance(module, (nn.Conv1d, nn.Conv2d))
        and set(module.kernel_size) == {1}
        and module.groups == 1
        and (isinstance(module.padding, str) or not any(module.padding))
    )


def channels_last(module: nn.Module, x: Tensor) -> Tensor:
    """What a module reads or gives out, the axis that it maps last: `[..., n]`."""
    return x.movedim(1, -1) if isinstance(module, NeuronalPointwise) or is_pointwise(module) else x


def read_by(module: nn.Module, x: Tensor) -> Tensor:
    """What a linear map reads of its input `x`, one row for every place at which it is applied: `[..., n]`."""
    if not isinstance(module, NeuronalPointwise) and not is_pointwise(module):
        return x
    step: tuple[int, ...] = module.stride  # type: ignore[assignment]
    return x[(slice(None), slice(None), *(slice(None, None, s) for s in step))].movedim(1, -1)


class NeuronalPointwise(NeuronalLinear):
    """`NeuronalLinear` in the place of such a convolution: `[B, n, ...]` -> `[B, m, ...]`.

    Args:
        stride: of the convolution, for every axis of places.
        fields: see `NeuronalLinear`.

    >>> layer = NeuronalPointwise(8, 6, 2, stride=(2,))
    >>> x = torch.randn(3, 8, 10)
    >>> layer(x).shape, torch.allclose(layer(x), layer.convolution()(x), atol=1e-6)
    (torch.Size([3, 6, 5]), True)
    """

    def __init__(self, inputs: int, outputs: int, rank: int, *, stride: tuple[int, ...], **fields: object):
        super().__init__(inputs, outputs, rank, **fields)  # type: ignore[arg-type]
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(read_by(self, x)).movedim(-1, 1)

    @torch.no_grad()
    def convolution(self) -> nn.Module:
        """An ordinary convolution that computes the same."""
        kind = nn.Conv1d if len(self.stride) == 1 else nn.Conv2d
        flat = self.merged()
        whole = kind(self.in_features, self.out_features, 1, self.stride, bias=flat.bias is not None)  # type: ignore
        whole = whole.to(flat.weight)
        whole.weight.copy_(flat.weight.view_as(whole.weight))
        if whole.bias is not None:
            whole.bias.copy_(flat.bias)
        return whole
