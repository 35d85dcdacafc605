"""The layers of a population: the same layer for all neurons, or one for each, on the `B T N D` layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.ops import neuron_linear, neuron_norm
from inn.ops.norm.reference import EPSILON


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, sizes: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """`neuron_linear` that heeds autocast, as PyTorch's own `linear` does: see `inn.ops.linear.reference`."""
    if torch.is_autocast_enabled(x.device.type):
        kind = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    return neuron_linear(x, weight, bias, sizes)


def project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """PyTorch's `linear` through the kernels of a population of one: `[B, T, I]` -> `[B, T, O]`."""
    return linear(x[:, :, None], weight[None], None if bias is None else bias[None])[0][:, :, 0]


class Linear(nn.Linear):
    """PyTorch's linear layer on `[B, T, I]`, through the kernels of a population of one."""

    def forward(self, input: Tensor) -> Tensor:
        return project(input, self.weight, self.bias)


class NeuronLinear(nn.Module):
    """A linear map per neuron: `[B, T, N, I]` -> `[B, T, N, O]`.

    Args:
        populations: sets of weights, 1 (shared by all neurons) or N.
        inputs, outputs: widths I and O.
        bias: whether to add one.
        zero: start at zero instead of U(±1/√I), PyTorch's default for a linear layer.

    >>> NeuronLinear(8, 16, 32)(torch.randn(2, 5, 8, 16)).shape
    torch.Size([2, 5, 8, 32])
    """

    def __init__(self, populations: int, inputs: int, outputs: int, *, bias: bool = False, zero: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(populations, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(populations, outputs)) if bias else None
        if self.bias is not None:
            no_decay(self.bias)
        bound = 0.0 if zero else 1 / math.sqrt(inputs)
        nn.init.uniform_(self.weight, -bound, bound)

    @overload
    def forward(self, x: Tensor) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, *sizes: int) -> tuple[Tensor, ...]: ...

    def forward(self, x: Tensor, *sizes: int) -> Tensor | tuple[Tensor, ...]:
        """The map's result; with `sizes` as several tensors, the first `sizes[0]` of its O numbers, then `sizes[1]`."""
        return linear(x, self.weight, self.bias, sizes) if sizes else linear(x, self.weight, self.bias)[0]

    def flops(self, neurons: int) -> float:
        """FLOPs for one symbol of `neurons` neurons."""
        return 2.0 * neurons * self.weight.shape[1] * self.weight.shape[2]

    def extra_repr(self) -> str:
        p, o, i = self.weight.shape
        return f"{i} -> {o}, {'shared' if p == 1 else f'{p} separate'}, bias={self.bias is not None}"


class NeuronNorm(nn.Module):
    """Layer norm over the width with a gain and a bias per set of weights: `[B, T, N, D]` -> the same.

    `gain` is where the gain starts; 0 makes a norm that begins silent. With `kind` `rms` it is the RMS norm (Zhang &
    Sennrich 2019), which takes no mean off and has no bias.

    >>> NeuronNorm(1, 2, kind="rms")(torch.tensor([3.0, 3.0]).expand(1, 1, 4, 2))[0, 0, 0]
    tensor([1.0000, 1.0000], grad_fn=<SelectBackward0>)
    """

    def __init__(self, populations: int, width: int, *, gain: float = 1.0, kind: str = "layer"):
        super().__init__()
        self.weight = no_decay(nn.Parameter(torch.full((populations, width), gain)))
        self.bias = no_decay(nn.Parameter(torch.zeros(populations, width))) if kind == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return F.rms_norm(x, x.shape[-1:], eps=EPSILON) * self.weight.to(x.dtype)
        return neuron_norm(x, self.weight, self.bias)


def bare(*maps: nn.Module | None) -> bool:
    """Whether maps are what they were built as: kernels may then read their weights and pass their `forward` by.

    An adapter (LoRA) stands in a map's place and adds to what its `forward` gives.
    """
    return all(type(m) is NeuronLinear for m in maps if m is not None)


def no_decay(parameter: nn.Parameter) -> nn.Parameter:
    """Mark a parameter that weight decay leaves alone (biases, gains, time constants, identities)."""
    parameter._no_decay = True  # type: ignore[attr-defined]
    return parameter
