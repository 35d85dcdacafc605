"""What neurons that rest cost: nothing. The steps at which each takes part are put in front, and the rest left out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from inn.nn.masked import legible
from inn.nn.presence import counted

DENSEST = 0.75
"""Packed steps, as a share of all, above which the steps are not worth moving."""


class Packed:
    """The steps `[B, T, N]` at which neurons take part, stream by stream and neuron by neuron in front of one another.

    Attributes:
        length: steps of the neuron and stream that has most, T': what is packed is `[B, T', N, ...]`.
        inside: `[B, T', N]` bool, the places that hold a step; the others are at the ends.
    """

    def __init__(self, counts: Tensor):
        self.shape, self.counts = counts.shape, counts
        batch, time, neurons = counts.shape
        by_neuron = counts.permute(2, 0, 1).reshape(neurons * batch, time)
        lengths = by_neuron.sum(1)
        self.length = max(1, int(lengths.max())) if lengths.numel() else 1
        self.rows = by_neuron.reshape(-1).nonzero()[:, 0]  # of [N, B, T], in this order
        first = torch.arange(neurons * batch, device=counts.device)
        places = (by_neuron.cumsum(1) - 1 + first[:, None] * self.length).reshape(-1)
        self.places = places[self.rows]  # of [N, B, T']
        self.order = (first * time)[:, None].repeat(1, self.length).flatten().index_copy(0, self.places, self.rows)
        inside = torch.arange(self.length, device=counts.device) < lengths[:, None]
        self.inside = inside.view(neurons, batch, self.length).permute(1, 2, 0)
        self.sizes = lengths.view(neurons, batch).sum(1).tolist()

    def take(self, x: Tensor) -> Tensor:
        """`[B, T, N, D]` packed: `[B, T', N, D]`; places that hold no step hold another one's numbers."""
        return self._shaped(_flat(x).index_select(0, self.order), self.length)

    def listed(self, x: Tensor) -> Tensor:
        """The rows `[R, D]` of the packed `[B, T', N, D]`, neuron by neuron."""
        return _flat(x).index_select(0, self.places)

    def packed(self, rows: Tensor) -> Tensor:
        """Rows `[R, D]` as `[B, T', N, D]`, zeros where there is none."""
        return self._shaped(
            rows.new_zeros(len(self.order), rows.shape[1]).index_copy(0, self.places, rows), self.length
        )

    def spread(self, x: Tensor) -> Tensor:
        """Packed `[B, T', N, D]` back in its steps: `[B, T, N, D]`, zeros where neurons rest."""
        batch, time, neurons = self.shape
        rows = self.listed(x)
        return self._shaped(rows.new_zeros(batch * time * neurons, rows.shape[1]).index_copy(0, self.rows, rows), time)

    def heard(self, x: Tensor, weight: Tensor) -> Tensor:
        """What packed neurons `[B, T', N, D]` say, as those that take part hear it: packed, `[B, T', N, I]`.

        Each hears through a matrix of its own, `weight` `[N, I, N x D]`.
        """
        batch, time, neurons = self.shape
        step = self.rows % (batch * time)
        rows = self.listed(x)
        said = rows.new_zeros(batch * time * neurons, rows.shape[1])
        said = said.index_copy(0, step * neurons + self.rows // (batch * time), rows)
        return self.packed(_Heard.apply(said.view(batch * time, -1), weight, step, self.sizes))  # type: ignore[arg-type]

    def _shaped(self, rows: Tensor, time: int) -> Tensor:
        batch, _, neurons = self.shape
        return rows.view(neurons, batch, time, rows.shape[1]).permute(1, 2, 0, 3)


def packed(present: Tensor, mask: Tensor | None, reset: Tensor | None) -> Packed | None:
    """The steps at which neurons take part `[B, T, N]`, packed, where it can be done and is worth it.

    Not on an accelerator, where it would be a wait, nor with resets, which come between the steps of those that rest.
    """
    if present.shape[1] == 1 or not present.numel() or not legible(present):
        return None
    if reset is not None and bool(reset.any()):
        return None
    counts = counted(mask, present)
    assert counts is not None
    found = Packed(counts)
    return found if found.length <= DENSEST * present.shape[1] else None


def _flat(x: Tensor) -> Tensor:
    return x.permute(2, 0, 1, 3).reshape(-1, x.shape[3])


class _Heard(torch.autograd.Function):
    """Rows of `said` `[M, F]`, through a matrix of each neuron, `[N, I, F]`: `[R, I]`.

    `steps` lists the rows of the first neuron, `sizes[0]` of them, then those of the second.
    """

    @staticmethod
    def forward(ctx: Any, said: Tensor, weight: Tensor, steps: Tensor, sizes: list[int]) -> Tensor:
        ctx.save_for_backward(said, weight, steps)
        ctx.sizes = sizes
        y = said.new_empty(len(steps), weight.shape[1])
        for own, w, out in zip(steps.split(sizes), weight, y.split(sizes)):
            torch.mm(said.index_select(0, own), w.t(), out=out)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        said, weight, steps = ctx.saved_tensors
        to_said, to_weight = torch.zeros_like(said), torch.empty_like(weight)
        for own, w, g, out in zip(steps.split(ctx.sizes), weight, grad.split(ctx.sizes), to_weight):
            to_said.index_add_(0, own, g @ w)
            torch.mm(g.t(), said.index_select(0, own), out=out)
        return to_said, to_weight, None, None
