"""What neurons that rest cost: nothing. The steps at which each takes part are listed, and the rest left out."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.direct import untouched
from inn.nn.masked import legible
from inn.nn.population import NeuronLinear, NeuronNorm
from inn.nn.presence import counted
from inn.ops.derivatives import again, beyond
from inn.ops.norm.reference import EPSILON
from inn.ops.tensors import autocasts

DENSEST = 0.75
"""Share of (stream, step, neuron) that takes part above which the steps are not worth moving."""


class Packed:
    """The steps `[B, T, N]` at which neurons take part, as a list of R: neuron by neuron, stream by stream, in order.

    Attributes:
        first: `[N x B + 1]`, where the steps of each neuron's streams begin in the list; R at the end.
        sizes: the steps of each neuron, `[N]` numbers.
    """

    def __init__(self, counts: Tensor):
        self.shape, self.counts = counts.shape, counts
        batch, time, neurons = counts.shape
        flags = counts.permute(2, 0, 1).reshape(neurons * batch, time)
        self.lengths = flags.sum(1)
        self.first = F.pad(self.lengths.cumsum(0), (1, 0))
        self.rows = flags.reshape(-1).nonzero()[:, 0]  # of [N, B, T], in this order
        self.sizes: list[int] = self.lengths.view(neurons, batch).sum(1).tolist()

    @cached_property
    def length(self) -> int:
        """Steps of the neuron and stream that has most, T'."""
        return max(1, int(self.lengths.max())) if self.lengths.numel() else 1

    @cached_property
    def steps(self) -> Tensor:
        """The step of each row of the list among all B x T."""
        return self.rows % (self.shape[0] * self.shape[1])

    @cached_property
    def places(self) -> Tensor:
        """The place of each row of the list in `[N, B, T']`."""
        shift = torch.arange(len(self.lengths), device=self.rows.device) * self.length - self.first[:-1]
        return torch.arange(len(self.rows), device=self.rows.device) + shift.repeat_interleave(self.lengths)

    @cached_property
    def inside(self) -> Tensor:
        """`[B, T', N]` bool, the places of `filled` that hold a step; the others are at the ends."""
        batch, _, neurons = self.shape
        inside = torch.arange(self.length, device=self.rows.device) < self.lengths[:, None]
        return inside.view(neurons, batch, self.length).permute(1, 2, 0)

    def take(self, x: Tensor) -> Tensor:
        """The list `[R, D]` of neurons `[B, T, N, D]`."""
        return _flat(x).index_select(0, self.rows)

    def put(self, x: Tensor, rows: Tensor) -> Tensor:
        """Neurons `[B, T, N, D]` with the list `[R, D]` in its places."""
        return self._shaped(_flat(x).index_copy(0, self.rows, rows), self.shape[1])

    def spread(self, rows: Tensor) -> Tensor:
        """The list `[R, D]` in its steps, `[B, T, N, D]`, and zeros where neurons rest."""
        batch, time, neurons = self.shape
        x = rows.new_zeros(batch * time * neurons, rows.shape[1])
        return self._shaped(x.index_copy(0, self.rows, rows), time)

    def filled(self, rows: Tensor) -> Tensor:
        """The list `[R, D]` with each neuron's and stream's steps in front, `[B, T', N, D]`, and zeros behind them."""
        batch, _, neurons = self.shape
        x = rows.new_zeros(batch * neurons * self.length, rows.shape[1])
        return self._shaped(x.index_copy(0, self.places, rows), self.length)

    def listed(self, x: Tensor) -> Tensor:
        """The list `[R, D]` of what is as `filled` gives it."""
        return _flat(x).index_select(0, self.places)

    def through(self, part: nn.Module, *rows: Tensor) -> Tensor:
        """Lists `[R, D]` through a part that maps neurons `[B, T, N, D]` step by step."""
        if isinstance(part, NeuronNorm) and untouched(part) and not autocasts(rows[0]):
            return self._normed(part, rows[0])
        if isinstance(part, NeuronLinear) and self.maps(part, rows[0]):
            return self.map(rows[0], part.weight, part.bias)
        return self.listed(part(*map(self.filled, rows)))

    def maps(self, part: nn.Module, x: Tensor) -> bool:
        """Whether the matrices of a map may be read instead of its call."""
        return isinstance(part, NeuronLinear) and untouched(part) and not autocasts(x)

    def map(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The list `[R, I]` by one matrix for all neurons or one for each, `[P, O, I]`: `[R, O]`."""
        if weight.shape[0] == 1:
            return F.linear(rows, weight[0], None if bias is None else bias[0])
        return _Mapped.apply(rows, weight, bias, self.sizes)  # type: ignore[return-value]

    def heard(self, rows: Tensor, weight: Tensor) -> Tensor:
        """What the neurons of the list say, `[R, D]`, as they hear it of one another: `[R, I]`.

        Each hears through a matrix of its own, `weight` `[N, I, N x D]`; those that rest say nothing.
        """
        batch, time, neurons = self.shape
        said = rows.new_zeros(batch * time * neurons, rows.shape[1])
        said = said.index_copy(0, self.steps * neurons + self.rows // (batch * time), rows)
        return _Heard.apply(said.view(batch * time, -1), weight, self.steps, self.sizes)  # type: ignore[return-value]

    @cached_property
    def meetings(self) -> tuple[Tensor, Tensor]:
        """Who meets at a step: the places in the list step by step, `[R]`, and where each step's begin, and R."""
        counts = self.steps.bincount(minlength=self.shape[0] * self.shape[1])
        return self.steps.argsort(stable=True), F.pad(counts[counts > 0].cumsum(0), (1, 0))

    def scaled(self, rows: Tensor, gain: Tensor, bias: Tensor | None = None) -> Tensor:
        """The list `[R, ..., D]` by a gain for all neurons or one for each, `[P, D]`, and plus a bias like it."""

        def of_rows(t: Tensor) -> Tensor:
            t = t if t.shape[0] == 1 else t.repeat_interleave(torch.tensor(self.sizes, device=t.device), 0)
            return t.to(rows.dtype).view(len(t), *(1,) * (rows.ndim - 2), t.shape[1])

        return rows * of_rows(gain) if bias is None else torch.addcmul(of_rows(bias), rows, of_rows(gain))

    def _normed(self, norm: NeuronNorm, rows: Tensor) -> Tensor:
        if norm.weight is None:
            return rows
        alike = F.rms_norm if norm.bias is None else F.layer_norm
        return self.scaled(alike(rows, rows.shape[-1:], eps=EPSILON), norm.weight, norm.bias)

    def _shaped(self, rows: Tensor, time: int) -> Tensor:
        batch, _, neurons = self.shape
        return rows.view(neurons, batch, time, rows.shape[1]).permute(1, 2, 0, 3)


def packed(present: Tensor, mask: Tensor | None, reset: Tensor | None, whole: bool = True) -> Packed | None:
    """The steps at which neurons take part `[B, T, N]`, listed, where it can be done and is worth it.

    Not on an accelerator, where it would be a wait, nor with resets, which come between the steps of those that rest.
    Not `whole` is a round of which a part runs over all places of `Packed.filled`.
    """
    if present.shape[1] == 1 or not present.numel() or not legible(present):
        return None
    if reset is not None and bool(reset.any()):
        return None
    counts = counted(mask, present)
    assert counts is not None
    share = counts.sum() / counts.numel() if whole else counts.sum(1).max() / counts.shape[1]
    return Packed(counts) if float(share) <= DENSEST else None


def _flat(x: Tensor) -> Tensor:
    return x.permute(2, 0, 1, 3).reshape(-1, x.shape[3])


def _mapped(rows: Tensor, weight: Tensor, bias: Tensor | None, sizes: list[int]) -> Tensor:
    """`_Mapped` in operations that PyTorch can differentiate as often as it likes."""
    biases = [None] * len(sizes) if bias is None else list(bias)
    return torch.cat([F.linear(x, w, b) for x, w, b in zip(rows.split(sizes), weight, biases)])


def _hears(said: Tensor, weight: Tensor, steps: Tensor, sizes: list[int]) -> Tensor:
    """`_Heard` in such operations."""
    return torch.cat([F.linear(said.index_select(0, own), w) for own, w in zip(steps.split(sizes), weight)])


class _Mapped(torch.autograd.Function):
    """Rows `[R, I]`, `sizes[0]` of the first neuron, then those of the second, by matrices `[N, O, I]`: `[R, O]`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, sizes: list[int]) -> Tensor:
        ctx.save_for_backward(rows, weight, bias)
        ctx.sizes = sizes
        y = rows.new_empty(len(rows), weight.shape[1])
        for n, (x, w, out) in enumerate(zip(rows.split(sizes), weight, y.split(sizes))):
            if bias is None:
                torch.mm(x, w.t(), out=out)
            else:
                torch.addmm(bias[n], x, w.t(), out=out)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias = ctx.saved_tensors
        if beyond(grad):
            return *again(partial(_mapped, sizes=ctx.sizes), (rows, weight, bias), (grad,)), None
        to_rows, to_weight = torch.empty_like(rows, memory_format=torch.contiguous_format), torch.empty_like(weight)
        to_bias = None if bias is None else weight.new_empty(weight.shape[:2], dtype=bias.dtype)
        parts = (t.split(ctx.sizes) for t in (rows, grad, to_rows))
        for n, (w, x, g, out) in enumerate(zip(weight, *parts)):
            torch.mm(g, w, out=out)
            torch.mm(g.t(), x, out=to_weight[n])
            if to_bias is not None:
                torch.sum(g, 0, out=to_bias[n])
        return to_rows, to_weight, to_bias, None


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
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        said, weight, steps = ctx.saved_tensors
        if beyond(grad):
            return *again(partial(_hears, sizes=ctx.sizes), (said, weight, steps), (grad,)), None
        to_said, to_weight = torch.zeros_like(said), torch.empty_like(weight)
        for own, w, g, out in zip(steps.split(ctx.sizes), weight, grad.split(ctx.sizes), to_weight):
            to_said.index_add_(0, own, g @ w)
            torch.mm(g.t(), said.index_select(0, own), out=out)
        return to_said, to_weight, None, None
