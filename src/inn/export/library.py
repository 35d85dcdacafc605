"""The operations of the library: the few that stay whole, and the others as smaller ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from inn.export.lowering import Lowering, Value, shape_of
from inn.export.program import View, padded_to, strides_of
from inn.ops.dispatch import use_backend
from inn.system.errors import InputError


def linear(low: Lowering, node: Node, x: Value, weight: Value, bias: Value, sizes: Sequence[int]) -> list[Value]:
    """A map of each neuron's numbers; what comes out is one after the other."""
    if not isinstance(weight, Tensor) or (bias is not None and not isinstance(bias, Tensor)):
        return _shared_out(_read_linear(low, low.rows(x), low.view(weight), bias), sizes)
    return _shared_out(low.linear(low.rows(x), weight, bias, weight), sizes)


def _read_linear(low: Lowering, x: View, matrices: View, bias: Value) -> View:
    """A map by matrices `[P, O, I]` that are made of what is read."""
    (neurons, inputs), (sets, outputs, _), (step, own, along) = x.shape, matrices.shape, matrices.strides
    turned = View(matrices.buffer, (neurons, inputs, outputs), (step if sets > 1 else 0, along, own), matrices.offset)
    y = low.work((neurons, 1, outputs), "float32")
    low.call("matmul", (View(x.buffer, (neurons, 1, inputs), (x.strides[0], 0, 1), x.offset), turned), (y,))
    value = y.axes((0, 2))
    return value if bias is None else low.map("add", value.shape, "float32", value, bias)


def _shared_out(y: View, sizes: Sequence[int]) -> list[View]:
    found, at = [], 0
    for size in sizes:
        found.append(View(y.buffer, (1, 1, y.shape[0], size), (0, 0, *y.strides), y.offset + at))
        at += size
    return found


def norm(low: Lowering, node: Node, x: Value, weight: Value, bias: Value, epsilon: float) -> View:
    """Layer norm of each neuron."""
    rows = low.rows(x)
    out = low.work(rows.shape, "float32")
    low.call("norm", (rows, _sets(low, weight, 1), _sets(low, bias, 1)), (out,), epsilon=epsilon)
    return View(out.buffer, shape_of(node), strides_of(shape_of(node)))


def layer_norm(
    low: Lowering, node: Node, x: View, shape: Sequence[int], weight: Value, bias: Value, epsilon: float
) -> list[Value]:
    """PyTorch's layer norm, over the last axis."""
    full = tuple(node.meta["val"][0].shape)
    if len(shape) != 1:
        raise InputError(f"{low.part} of this {low.model} norms several axes, which an export to code lacks")
    x = low.dense(x)
    width = full[-1]
    rows = View(x.buffer, (prod(full[:-1]), width), (width, 1), x.offset)
    weight = torch.ones(width) if weight is None else weight
    bias = torch.zeros(width) if bias is None else bias
    out = low.work(rows.shape, "float32")
    low.call("norm", (rows, _sets(low, weight[None], 1), _sets(low, bias[None], 1)), (out,), epsilon=epsilon)
    return [View(out.buffer, full, strides_of(full)), None, None]


def _sets(low: Lowering, value: Value, rank: int) -> View:
    """Parameters `[P, ...]`; step 0 along the first axis where all neurons share them."""
    view = low.dense(value)
    steps = (0 if view.shape[0] == 1 else view.strides[0], *view.strides[1:])
    return View(view.buffer, view.shape, steps, view.offset)


def conv(low: Lowering, node: Node, x: Value, weight: Value, bias: Value, state: View, *args: Any) -> list[Value]:
    """The short look-back in front of a scan."""
    if isinstance(weight, Tensor):  # channels stand side by side
        weight = low.named(weight.transpose(1, 2).contiguous(), weight)
    rows, shape, state = low.rows(x), shape_of(node, 0), low.view(state)
    out, after = low.work(rows.shape, "float32"), low.map("copy", state.shape, state.dtype, state)
    low.call("conv", (rows, _sets(low, weight, 2), _sets(low, bias, 1)), (out,), (after,))
    return [View(out.buffer, shape, strides_of(shape)), after]


def scan(
    low: Lowering,
    node: Node,
    x: Value,
    dt: Value,
    A: Value,
    B: Value,
    C: Value,
    D: Value,
    z: Value,
    state: View,
    *args: Any,
) -> list[Value]:
    """The selective scan; its state and its decay rates are laid out `[N, S, E]`."""
    if not isinstance(A, Tensor):
        raise InputError(
            f"{low.part} of this {low.model} has decay rates that depend on what is read, which an export lacks"
        )
    state = low.view(state)
    shape, E, S = shape_of(node, 0), state.shape[-2], state.shape[-1]
    wide = padded_to(E)
    A = low.named(nn.functional.pad(A.transpose(1, 2), (0, wide - E)), A)
    rows = [low.rows(v) for v in (x, dt, B, C, z)]
    out = low.work(rows[0].shape, "float32")
    own = low.work((*state.shape[:-2], S, wide), "float32")
    after = View(own.buffer, state.shape, (*own.strides[:-2], 1, wide))
    low.copy(state, after)
    low.call("scan", (*rows, _sets(low, A, 2), _sets(low, D, 1)), (out,), (own,))
    return [View(out.buffer, shape, strides_of(shape)), after, None]


class _Smaller(nn.Module):
    """An operation of the library as smaller ones of PyTorch."""

    def __init__(self, run: Callable[..., Any]):
        super().__init__()
        self.run = run

    def forward(self, *tensors: Tensor) -> Any:
        with use_backend("torch"):
            found = self.run(*tensors)
        return [t for t in found if t is not None] if isinstance(found, (tuple, list)) else [found]


def smaller(low: Lowering, given: Sequence[Value], run: Callable[..., Any]) -> list[Value]:
    """Lower what `run` does with PyTorch's operations; of `given` those that are None are left out."""
    there = [i for i, v in enumerate(given) if v is not None]

    def whole(*tensors: Tensor) -> Any:
        full: list[Tensor | None] = [None] * len(given)
        for i, t in zip(there, tensors):
            full[i] = t
        return run(*full)

    return low.expanded(_Smaller(whole), [given[i] for i in there])


def delta_scan(low: Lowering, node: Node, q, k, v, decay, beta, state, *args: Any) -> list[Value]:
    """The delta rule."""
    from inn.ops.delta.reference import delta_scan_reference

    return [*smaller(low, (q, k, v, decay, beta, state), delta_scan_reference), None]


def recurrence(low: Lowering, node: Node, x, state, reset, mask, *args: Any) -> list[Value]:
    """A cell."""
    from inn.ops.loop.reference import recurrence_reference

    *weights, cell, _, _ = args
    weights = [w for w in weights if w is not None]
    found = smaller(low, (x, state, *weights), lambda x, s, *w: recurrence_reference(cell, x, s, None, None, *w))
    return [*found, None]


def neuron_attention(low: Lowering, node: Node, q, k, v, heads, edges, *args: Any) -> list[Value]:
    """Attention over the neurons."""
    from inn.ops.attention.torch import neuron_attention_torch

    def run(q, k, v, edges):
        q, k, v = (t.unflatten(-1, (heads, -1)) for t in (q, k, v))
        message, weights = neuron_attention_torch(q, k, v, edges, want_weights=True)
        return message.flatten(3), weights

    return smaller(low, (q, k, v, edges), run)


def neighbour_attention(
    low: Lowering, node: Node, q, k, v, heads, sources, open, signs, log_weights, present, *args
) -> list[Value]:
    """Attention along listed edges."""
    from inn.ops.neighbours.torch import neighbour_attention_torch

    def run(q, k, v, sources, open, signs, log_weights, present):
        q, k, v = (t.unflatten(-1, (heads, -1)) for t in (q, k, v))
        edges = sources, open, signs, log_weights, present
        message, weights = neighbour_attention_torch(q, k, v, *edges, want_weights=True)
        return message.flatten(3), weights

    return smaller(low, (q, k, v, sources, open, signs, log_weights, present), run)


def neighbour_sum(low: Lowering, node: Node, v, weights, sources, open) -> Value:
    """Weighted sums along listed edges."""
    from inn.ops.neighbours.torch import neighbour_sum_torch

    return smaller(low, (v, weights, sources, open), neighbour_sum_torch)[0]


def neighbour_mix(low: Lowering, node: Node, v, weights, sources, open) -> Value:
    """Weighted sums along listed edges, by step and head."""
    from inn.ops.neighbours.mix import mix_torch

    def run(v, weights, sources, open):
        return mix_torch(v.unflatten(-1, (weights.shape[2], -1)), weights, sources, open).flatten(3)

    return smaller(low, (v, weights, sources, open), run)[0]


def neighbour_scores(low: Lowering, node: Node, q, k, heads, sources, open) -> Value:
    """Scores along listed edges."""
    from inn.ops.neighbours.mix import scores_torch

    def run(q, k, sources, open):
        return scores_torch(q.unflatten(-1, (heads, -1)), k.unflatten(-1, (heads, -1)), sources, open)

    return smaller(low, (q, k, sources, open), run)[0]


def neighbour_messages(low: Lowering, node: Node, x, weight, sources, open, signs) -> Value:
    """A matrix for each listed edge."""
    from inn.ops.neighbours.messages import neighbour_messages_torch

    return smaller(low, (x, weight, sources, open, signs), neighbour_messages_torch)[0]


def rnn_layer(low: Lowering, node: Node, x, w, u, b, c, h, cell, *args: Any) -> list[Value]:
    """One step of PyTorch's LSTM on a CPU."""
    if args[2] != 2:
        raise InputError(f"{low.part} of this {low.model} is a recurrent layer that an export to code lacks; take lstm")

    def run(x, w, u, b, c, h, cell):
        gates = x[0] @ w.T + b + h[0] @ u.T + c
        i, f, g, o = gates.chunk(4, -1)
        cell = torch.sigmoid(f) * cell[0] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(cell)
        return h[None], h[None], cell[None]

    return [*smaller(low, (x, w, u, b, c, h, cell), run), None]
