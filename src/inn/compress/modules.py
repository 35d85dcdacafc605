"""Linear maps made of neuronal states: what a group reads is computed once, and no dense matrix is ever made.

Where a dense layer has its weight, a state dict of theirs has one number. It fits no layer: a file of theirs that is
read into dense layers is an error, and never a model whose weights are drawn at random.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class InputStates(nn.Module):
    """The input states that a group shares: `[..., n]` -> `[..., k]`, once for all members that see the same input.

    The projections of one layer are handed the same tensor one after another; the first computes what all of them
    read. Members in other layers see another tensor and compute their own, with the same states.

    Args:
        inputs: n, the widest input of the group; narrower ones use the first rows only.
        rank: k.
    """

    def __init__(self, inputs: int, rank: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rank, inputs))
        nn.init.uniform_(self.weight, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))
        self._kept: tuple[Any, ...] | None = None

    def forward(self, x: Tensor, readers: int = 1) -> Tensor:
        """What is read of `x` `[..., n]`; `readers` members will ask for the same tensor in a row."""
        if readers == 1 or torch.compiler.is_compiling():  # a compiler finds the common product by itself
            return self._read(x)
        versions = [0 if t.is_inference() else t._version for t in (x, self.weight)]
        mark = (*versions, id(self.weight), torch.is_grad_enabled(), torch.is_autocast_enabled())
        if self._kept is not None and self._kept[0] is x and self._kept[1] == mark:
            _, _, read, left = self._kept
        else:
            read, left = self._read(x), readers
        # Let go of it with the last reader: it would hold the input and its graph.
        # Straight into the dictionary, for a module's own way of setting attributes takes as long as a small product.
        self.__dict__["_kept"] = (x, mark, read, left - 1) if left > 1 else None
        return read

    def _read(self, x: Tensor) -> Tensor:
        weight = self.weight
        if x.shape[-1] != weight.shape[1]:  # a slice of all would cost as much as a small product
            weight = weight[:, : x.shape[-1]]
        return nn.functional.linear(x, weight)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}  # copies and pickles do not keep an input alive

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} -> {len(self.weight)}"


class Guarded(nn.Module):
    """A layer that stands where a dense one was, and whose state dict fits none."""

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        at = next(self.parameters())
        if not at.is_meta:  # on the meta device a state dict says what is to be read
            destination[f"{prefix}weight"] = torch.zeros(1, dtype=at.dtype, device=at.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        kept = {key: value for key, value in state_dict.items() if key != f"{prefix}weight"}
        super()._load_from_state_dict(kept, prefix, *args)


class NeuronalLinear(Guarded):
    """A linear map whose weight is made of neuronal states, W[j, i] = q_out[j] . q_in[i]: `[..., n]` -> `[..., m]`.

    Alone, or in a group with others that read the same input states. It trains from scratch like any other layer; what
    is shared is shared in training too.

    Args:
        inputs, outputs: widths n and m.
        rank: numbers per state (k); the layer has k (n + m) parameters, in a group of its own.
        bias: whether to add one.
        shared: the input states of a group; None for the layer's own.
        readers: members of the group that are handed the very same input (the projections of one layer).

    >>> keys = NeuronalLinear(64, 32, 8)
    >>> values = NeuronalLinear(64, 32, 8, shared=keys.reads)
    >>> x = torch.randn(2, 5, 64)
    >>> keys(x).shape, torch.allclose(values(x), x @ values.weight.T, atol=1e-5)
    (torch.Size([2, 5, 32]), True)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        rank: int,
        *,
        bias: bool = False,
        shared: InputStates | None = None,
        readers: int = 1,
    ):
        super().__init__()
        self.in_features, self.out_features, self.readers = inputs, outputs, readers
        # Kept by the group's first block only: a state dict then has it once, and nothing is tied.
        self.states = InputStates(inputs, rank) if shared is None else None
        self._elsewhere: tuple[InputStates, ...] = () if shared is None else (shared,)
        if self.reads.weight.shape[0] != rank:
            raise ValueError(f"a group of rank {self.reads.weight.shape[0]} cannot take a block of rank {rank}")
        if self.reads.weight.shape[1] < inputs:
            raise ValueError(f"a group of {self.reads.weight.shape[1]} inputs cannot take a block of {inputs}")
        self.write = nn.Linear(rank, outputs, bias=bias)
        self.replaces: type[nn.Module] = nn.Linear  # what it is merged back to

    @property
    def reads(self) -> InputStates:
        """The input states, the layer's own or its group's."""
        return self._elsewhere[0] if self.states is None else self.states

    def forward(self, x: Tensor) -> Tensor:
        inside = self._modules  # attributes of modules are looked for elsewhere first, for microseconds each
        read: Any = inside.get("states") or self._elsewhere[0]
        write: Any = inside["write"]
        return write(read(x, self.readers))

    @property
    @torch.no_grad()
    def weight(self) -> Tensor:
        """The weight `[m, n]` that the states amount to, made anew; nothing that is computed needs it."""
        if not (self.write.weight.is_floating_point() and self.reads.weight.is_floating_point()):
            return _room(self)
        return self.write.weight @ self.reads.weight[:, : self.in_features]

    @property
    def bias(self) -> Tensor | None:
        return self.write.bias

    def merged(self) -> nn.Linear:
        """An ordinary linear layer that computes the same."""
        whole = nn.Linear(self.in_features, self.out_features, bias=self.write.bias is not None)
        whole = whole.to(self.write.weight)
        with torch.no_grad():
            whole.weight.copy_(self.weight)
            if self.write.bias is not None:
                whole.bias.copy_(self.write.bias)
        return whole

    def extra_repr(self) -> str:
        return f"{self.in_features} -> {self.out_features}, rank {self.write.in_features}"


class MetricLinear(NeuronalLinear):
    """The same with a learned metric: W = tanh(Q_in M) tanh(Q_out M)^T (NGC, released code, variant 3; reconstructed).

    M `[k, k]` is shared with nobody. The factors are made anew on every call, k (n + m) k multiplications more than
    `NeuronalLinear`; once trained, `linearised` gives a layer without them.

    >>> layer = MetricLinear(16, 8, 4)
    >>> x = torch.randn(3, 16)
    >>> torch.allclose(layer(x), layer.linearised()(x), atol=1e-5)
    True
    """

    def __init__(self, inputs: int, outputs: int, rank: int, **fields: Any):
        super().__init__(inputs, outputs, rank, **fields)
        self.metric = nn.Parameter(torch.eye(rank))

    def _factors(self) -> tuple[Tensor, Tensor]:
        reads = self.reads.weight[:, : self.in_features]
        return torch.tanh(self.metric.T @ reads), torch.tanh(self.write.weight @ self.metric)

    def forward(self, x: Tensor) -> Tensor:
        read, write = self._factors()
        return nn.functional.linear(nn.functional.linear(x, read), write, self.write.bias)

    @property
    @torch.no_grad()
    def weight(self) -> Tensor:
        read, write = self._factors()
        return write @ read

    @torch.no_grad()
    def linearised(self) -> NeuronalLinear:
        """A `NeuronalLinear` of its own that computes the same."""
        plain = NeuronalLinear(
            self.in_features, self.out_features, self.write.in_features, bias=self.write.bias is not None
        ).to(self.write.weight)
        read, write = self._factors()
        plain.reads.weight.copy_(read)
        plain.write.weight.copy_(write)
        if self.write.bias is not None:
            plain.write.bias.copy_(self.write.bias)
        return plain


class Joined(Guarded):
    """Several maps of one input, their outputs side by side: what a layer with fused projections becomes."""

    def __init__(self, parts: list[nn.Linear]):
        super().__init__()
        self.starts = [sum(part.out_features for part in parts[:i]) for i in range(len(parts))]
        self.parts = nn.ModuleList(parts)
        self.replaces: type[nn.Module] = nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], -1)

    @property
    def weight(self) -> Tensor:
        """All weights on top of each other, made anew: transformers looks for one."""
        parts = [(part, part.weight) for part in self.parts]
        return torch.cat([w if w.is_floating_point() else _room(part) for part, w in parts])  # type: ignore[arg-type]


def _room(layer: Any) -> Tensor:
    """A weight `[m, n]` without numbers: of a layer whose own are bytes, which a folder is being read into.

    Meanwhile transformers may ask for weights, to start those anew that the folder lacks.
    """
    return torch.empty(layer.out_features, layer.in_features, device=next(layer.parameters()).device)
