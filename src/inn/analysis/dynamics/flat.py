"""A state as one vector: what roll-outs record, and what fixed points and Jacobians are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from inn.nn.state import Key, State
from inn.system.errors import InputError


class Flat:
    """The places of a state's real numbers in a vector `[n]`, part after part; whole numbers have none.

    Attributes:
        parts: the shape of each part, without streams, by key.
        size: n.
        neurons: `[n]` int64, whose each number is; -1 of a part that belongs to no neuron.

    Raises `InputError` for a state without real numbers.

    >>> flat = Flat(State({(0, "h"): torch.zeros(2, 3, 4)}), neurons=3)
    >>> flat.size, flat.neurons.tolist()
    (12, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    """

    def __init__(self, state: State, neurons: int):
        self.parts = {key: t.shape[1:] for key, t in state.items() if t.is_floating_point()}
        self.size = sum(shape.numel() for shape in self.parts.values())
        if not self.size:
            raise InputError("this model has no state of real numbers, so nothing can move; give one that remembers")
        owners = []
        for key, shape in self.parts.items():
            owner = torch.full(shape, -1)
            for n in range(neurons):
                at = state.neuron(key, n)
                if at is not None and (shape[0] == neurons or "@" in key[1]):
                    owner[at] = n
            owners.append(owner.flatten())
        self.neurons = torch.cat(owners)

    def of(self, state: State) -> Tensor:
        """`[B, n]`."""
        return torch.cat([state[key].flatten(1) for key in self.parts], 1)

    def state(self, vectors: Tensor, like: State) -> State:
        """The state of vectors `[B, n]`; whole numbers are those of `like`, of as many streams or of one."""
        pieces = vectors.split([shape.numel() for shape in self.parts.values()], 1)
        still = {k: t.expand(len(vectors), *t.shape[1:]) for k, t in like.items() if k not in self.parts}
        moving: dict[Key, Tensor] = {k: v.reshape(-1, *self.parts[k]) for k, v in zip(self.parts, pieces, strict=True)}
        return State({key: moving.get(key, still.get(key)) for key in like})  # type: ignore[misc]


def jacobian(step: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """`[n, n]`, how a map of vectors `[B, n]` answers to a change of `at` `[n]`, by central differences.

    So any kernel will do, backward pass or not. Give float64.

    >>> jacobian(lambda x: x.square(), torch.tensor([1.0, 2.0]).double()).round(decimals=6).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    size = torch.finfo(at.dtype).eps ** (1 / 3) * (1 + at.norm() / len(at) ** 0.5)
    push = size * torch.eye(len(at), dtype=at.dtype, device=at.device)
    up, down = step(torch.cat((at + push, at - push))).chunk(2)
    return (up - down).T / (2 * size)


def neurons_of(model: nn.Module, state: State) -> int:
    """How many neurons a model has: as many as its graph, or as the largest part of its state."""
    count = getattr(getattr(model, "config", None), "neurons", None)
    return count or max(t.shape[1] for t in state.values())
