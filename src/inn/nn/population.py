"""The layers of a population: the same layer for all neurons, or one for each, on the `B T N D` layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.direct import passed_by
from inn.ops import neighbour_messages, neuron_linear, neuron_norm
from inn.ops.norm.reference import EPSILON
from inn.ops.tensors import autocasts, plain

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, sizes: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """`neuron_linear` that heeds autocast, as PyTorch's own `linear` does: see `inn.ops.linear.reference`.

    An input of one, `[B, T, 1, I]`, is heard by every neuron that has a matrix.
    """
    if type(weight) not in _PLAIN and _packed(weight):
        weight = weight.dequantize()
    if weight.shape[0] > x.shape[2]:
        x = x.expand(-1, -1, weight.shape[0], -1)
    if autocasts(x):
        kind = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    return neuron_linear(x, weight, bias, sizes)


def messages(x: Tensor, weight: Tensor, sources: Tensor, open: Tensor, signs: Tensor | None) -> Tensor:
    """`neighbour_messages` that heeds autocast; the weight is `[P, I, K x D]`, as that of a map."""
    if type(weight) not in _PLAIN and _packed(weight):
        weight = weight.dequantize()
    if autocasts(x):
        kind = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(kind), weight.to(kind)
    return neighbour_messages(x, weight.unflatten(2, (-1, x.shape[-1])), sources, open, signs)


def _packed(weight: Tensor) -> bool:
    """Whether a weight is a tensor only by name: quantised (torchao), and known to PyTorch's own operations alone."""
    kind = type(weight)
    return hasattr(kind, "__tensor_flatten__") and not hasattr(kind, "placements")


_PLAIN = (Tensor, nn.Parameter)


def project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """PyTorch's `linear` through the kernels of a population of one: `[B, T, I]` -> `[B, T, O]`.

    Weights of a class of their own (quantised, distributed, ...) know PyTorch's `linear`, and no other way.
    """
    if not plain(weight):
        return F.linear(x, weight, bias)
    return linear(x[:, :, None], weight[None], None if bias is None else bias[None])[0][:, :, 0]


class Linear(nn.Linear):
    """PyTorch's linear layer on `[B, T, I]`, through the kernels of a population of one.

    Attributes:
        std: of the normal distribution that its weights start from, its bias then at zero; None starts as PyTorch does.
    """

    std: float | None = None

    def reset_parameters(self) -> None:
        if self.std is None:
            super().reset_parameters()
        else:
            nn.init.normal_(self.weight, std=self.std)
            if self.bias is not None:
                nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return project(input, self.weight, self.bias)


class Embedding(nn.Embedding):
    """PyTorch's embedding, which weight decay leaves alone: most of its rows have no gradient in most batches.

    Attributes:
        std: of the normal distribution that it starts from; None starts as PyTorch does.
    """

    no_decay = ("weight",)
    std: float | None = None

    def reset_parameters(self) -> None:
        if self.std is None:
            super().reset_parameters()
        else:
            nn.init.normal_(self.weight, std=self.std)

    def forward(self, input: Tensor, bias: Tensor | None = None) -> Tensor:
        """The vectors of symbols `[B, T]`; or the scores of all symbols at vectors `[B, T, D]`: a tied head."""
        return project(input, self.weight, bias) if input.is_floating_point() else super().forward(input)


_Layer = TypeVar("_Layer", Linear, Embedding)


def started(layer: _Layer, std: float) -> _Layer:
    """The layer, its weights drawn from a normal distribution, now and whenever they are reset."""
    layer.std = std
    layer.reset_parameters()
    return layer


@passed_by("forward")
class NeuronLinear(nn.Module):
    """A linear map per neuron: `[B, T, N, I]` -> `[B, T, N, O]`.

    Args:
        populations: sets of weights, 1 (shared by all neurons) or N.
        inputs, outputs: widths I and O.
        bias: whether to add a bias.
        zero: start at zero instead of U(±1/√I), PyTorch's default for a linear layer.

    Attributes:
        bound: the initial weights are drawn from U(±bound).
        first_bias: a function that returns the initial bias `[P, O]`; None: zeros.

    >>> NeuronLinear(8, 16, 32)(torch.randn(2, 5, 8, 16)).shape
    torch.Size([2, 5, 8, 32])
    """

    no_decay = ("bias",)
    matrix_weights = ("weight",)
    first_bias: Callable[[], Tensor] | None = None

    def __init__(self, populations: int, inputs: int, outputs: int, *, bias: bool = False, zero: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(populations, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(populations, outputs)) if bias else None
        self.bound = 0.0 if zero else 1 / math.sqrt(inputs)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.weight.uniform_(-self.bound, self.bound)
        if self.bias is not None:
            self.bias.zero_() if self.first_bias is None else self.bias.copy_(self.first_bias())

    @overload
    def forward(self, x: Tensor) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, *sizes: int) -> tuple[Tensor, ...]: ...

    def forward(self, x: Tensor, *sizes: int) -> Tensor | tuple[Tensor, ...]:
        """The map's result; with `sizes` as several tensors, the first `sizes[0]` of its O numbers, then `sizes[1]`."""
        return linear(x, self.weight, self.bias, sizes) if sizes else linear(x, self.weight, self.bias)[0]

    def numbers(self) -> Tensor:
        """The weight, sooner than by its name: that costs as much as a small op, and a symbol's step reads many."""
        own = self._parameters.get("weight") if type(self) is NeuronLinear else None
        return self.weight if own is None else own

    def flops(self, neurons: int) -> float:
        """FLOPs for one symbol of `neurons` neurons."""
        return 2.0 * neurons * self.weight.shape[1] * self.weight.shape[2]

    def extra_repr(self) -> str:
        p, o, i = self.weight.shape
        return f"{i} -> {o}, {'shared' if p == 1 else f'{p} separate'}, bias={self.bias is not None}"


class CommunalLinear(nn.Module):
    """A linear map per neuron, made of neuronal states: `[B, T, N, I]` -> `[B, T, N, O]`.

    W_n[j, i] = q_n[j] . p[i]: the population shares the states p of its inputs, each neuron has those of its outputs to
    itself (*Neuronal Group Communication*, arXiv 2510.16851; reconstructed). Where one input `[B, T, 1, I]` goes to all
    neurons, what is read of it is computed once. k (I + N O) parameters in place of N O I.

    Args:
        neurons: N.
        inputs, outputs: widths I and O.
        states: numbers per state (k).
        bias: whether every neuron adds one.

    >>> CommunalLinear(8, 16, 32, states=4)(torch.randn(2, 5, 8, 16)).shape
    torch.Size([2, 5, 8, 32])
    """

    def __init__(self, neurons: int, inputs: int, outputs: int, states: int, *, bias: bool = False):
        super().__init__()
        self.read = NeuronLinear(1, inputs, states)
        self.write = NeuronLinear(neurons, states, outputs, bias=bias)
        # What is read is as large as the inputs are, and so the map starts as a plain one would.
        self.read.bound = math.sqrt(3 / inputs)
        self.read.reset_parameters()

    @overload
    def forward(self, x: Tensor) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, *sizes: int) -> tuple[Tensor, ...]: ...

    def forward(self, x: Tensor, *sizes: int) -> Tensor | tuple[Tensor, ...]:
        return self.write(self.read(x), *sizes)

    @property
    def weight(self) -> Tensor:
        """The weights `[N, O, I]` that the states amount to, made anew; the map itself never needs them."""
        return self.write.weight @ self.read.weight

    @property
    def bias(self) -> Tensor | None:
        return self.write.bias

    def flops(self, neurons: int, readers: int | None = None) -> float:
        """FLOPs for one symbol of `neurons` neurons, which read `readers` different inputs; as many when not given."""
        return self.read.flops(neurons if readers is None else readers) + self.write.flops(neurons)


NeuronMap = NeuronLinear | CommunalLinear
"""A linear map of a population, of either make."""


def flops_of(neurons: int, *maps: NeuronMap | None) -> float:
    """FLOPs for one symbol of `neurons` neurons, of those of the maps that are there."""
    return sum((m.flops(neurons) for m in maps if m is not None), 0.0)


def neuron_map(config: GraphConfig, inputs: int, outputs: int, *, own: bool = False, bias: bool = False) -> NeuronMap:
    """A map that the neurons of one round read one another or themselves through, made as `config.weights` says.

    With `own` even shared weights have one per neuron. The maps inside a memory are not of this kind: its channels are
    a neuron's own, and there is no reading in common.
    """
    if config.weights == "communal":
        return CommunalLinear(config.neurons, inputs, outputs, config.communal_states, bias=bias)
    return NeuronLinear(config.neurons if own else config.populations, inputs, outputs, bias=bias)


class NeuronNorm(nn.Module):
    """Layer norm over the width with a gain and a bias per set of weights: `[B, T, N, D]` -> the same.

    `gain` is where the gain starts; 0 makes a norm that begins silent. With `kind` `rms` it is the RMS norm (Zhang &
    Sennrich 2019), which takes no mean off and has no bias; with `none` it gives what it gets, and has no parameters.

    >>> NeuronNorm(1, 2, kind="rms")(torch.tensor([3.0, 3.0]).expand(1, 1, 4, 2))[0, 0, 0]
    tensor([1.0000, 1.0000], grad_fn=<SelectBackward0>)
    """

    no_decay = ("weight", "bias")

    def __init__(self, populations: int, width: int, *, gain: float = 1.0, kind: str = "layer"):
        super().__init__()
        self.gain = gain
        self.weight = nn.Parameter(torch.empty(populations, width)) if kind != "none" else None
        self.bias = nn.Parameter(torch.empty(populations, width)) if kind == "layer" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.constant_(self.weight, self.gain)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        if (weight := self.weight) is None:
            return x
        if (bias := self.bias) is None:
            return F.rms_norm(x, x.shape[-1:], eps=EPSILON) * weight.to(x.dtype)
        return neuron_norm(x, weight, bias)
