"""Functions of several numbers: sums, orders, arrays put together, products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from inn.export.lowering import Lowering, Value, dtype_of, last_axis, shape_of
from inn.export.program import View
from inn.system.errors import InputError

# Several numbers to one, and one after the other.


def reduced(fn: str) -> Callable[..., Any]:
    """A function of all numbers along some axes."""

    def lower(low: Lowering, node: Node, value: View, axes: Any = None, keep: bool = False, **kwargs: Any) -> View:
        rank = len(value.shape)
        axes = list(range(rank)) if axes in (None, [], ()) else [axes] if isinstance(axes, int) else list(axes)
        axes = [a % rank for a in axes]
        others = [a for a in range(rank) if a not in axes]
        shape, kind = tuple(value.shape[a] for a in others), dtype_of(node)
        view = value.axes([*others, *axes])
        out = low.work(shape, kind)
        low.call(fn, (view,), (out,), axes=len(axes))
        return View(out.buffer, *_kept(out, rank, others)) if keep else out

    return lower


def _kept(out: View, rank: int, others: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape, steps = [1] * rank, [0] * rank
    for axis, size, step in zip(others, out.shape, out.strides):
        shape[axis], steps[axis] = size, step
    return tuple(shape), tuple(steps)


def length(low: Lowering, node: Node, value: View, order: float = 2, axes: Any = None, keep: bool = False) -> View:
    """The Euclidean length."""
    if order != 2:
        raise InputError(f"{low.part} of this {low.model} takes a norm of order {order}, which an export to code lacks")
    squares = low.map("mul", value.shape, value.dtype, value, value)
    total = reduced("sum")(low, node, squares, axes, keep)
    return low.map("sqrt", total.shape, total.dtype, total)


def along(fn: str) -> Callable[..., View]:
    """A function of the numbers along one axis that gives as many."""

    def lower(low: Lowering, node: Node, value: View, axis: int = -1, *args: Any, **kwargs: Any) -> View:
        out = low.work(shape_of(node), dtype_of(node))
        low.call(fn, (last_axis(value, axis),), (last_axis(out, axis),), **kwargs)
        return out

    return lower


def ordered(low: Lowering, node: Node, value: View, *args: Any, **kwargs: Any) -> list[View]:
    """Sorted numbers and where they were; or the first few."""
    top = "topk" in str(node.target)
    count = args[0] if top else None
    axis = kwargs.get("dim", args[1] if top and len(args) > 1 else (args[0] if args and not top else -1))
    down = kwargs.get("largest", True) if top else kwargs.get("descending", args[1] if len(args) > 1 else False)
    values, places = node.meta["val"]
    out = [low.work(values.shape, value.dtype), low.work(places.shape, "int64")]
    source = low.dense(value)
    if axis % len(value.shape) != len(value.shape) - 1:
        source = last_axis(source, axis)
    low.call("sort", (source,), tuple(last_axis(o, axis) for o in out), descending=bool(down), count=count)
    return out


# Numbers that are put together.


def joined(low: Lowering, node: Node, values: Sequence[Value], axis: int = 0) -> View:
    """Arrays one behind the other."""
    out, at = low.work(shape_of(node), dtype_of(node)), 0
    axis %= len(out.shape)
    for value in values:
        if value.shape[axis] == 0 or (len(value.shape) == 1 and value.shape[0] == 0):
            continue
        shape = tuple(value.shape)
        low.copy(value, View(out.buffer, shape, out.strides, out.offset + at * out.strides[axis]))
        at += shape[axis]
    return out


def padded(low: Lowering, node: Node, value: View, amounts: Sequence[int], number: float = 0.0) -> View:
    """A border of one number round an array."""
    out = low.work(shape_of(node), dtype_of(node))
    offset, shape = out.offset, list(value.shape)
    starts = [0] * len(shape)
    for i in range(0, len(amounts), 2):
        axis = len(shape) - 1 - i // 2
        before, after = amounts[i], amounts[i + 1]
        if before < 0 or after < 0:
            cut = View(value.buffer, tuple(shape), value.strides, value.offset + max(-before, 0) * value.strides[axis])
            shape[axis] += min(before, 0) + min(after, 0)
            value = View(cut.buffer, tuple(shape), cut.strides, cut.offset)
        starts[axis] = max(before, 0)
    offset += sum(start * step for start, step in zip(starts, out.strides))
    if out.shape == tuple(shape):
        return value
    low.copy(number, out)
    low.copy(value, View(out.buffer, tuple(shape), out.strides, offset))
    return out


def copied(low: Lowering, node: Node, value: Value, source: Value, *args: Any) -> Value:
    """What `value` is once `source` has been written over it."""
    view = low.view(source)
    view = view if view.dtype == dtype_of(node) else low.map("copy", view.shape, dtype_of(node), view)
    return view.broadcast(shape_of(node))


def scattered(low: Lowering, node: Node, value: Value, axis: int, index: Value, source: Value) -> View:
    """Numbers written to places that are numbers themselves."""
    out = low.map("copy", shape_of(node), dtype_of(node), value)
    index = low.view(index)
    given = source if isinstance(source, (View, Tensor)) else torch.tensor(source, dtype=getattr(torch, out.dtype))
    given = low.view(given).broadcast(index.shape) if low.view(given).shape != index.shape else low.view(given)
    places = last_axis(index, axis), last_axis(given, axis)
    low.call("scatter", places, (), (last_axis(out, axis),), add="add" in str(node.target))
    return out


def overwritten(low: Lowering, node: Node, value: Value, source: Value, *args: Any, **kwargs: Any) -> View:
    """An array in which a part is replaced (`select_scatter`, `slice_scatter`)."""
    out = low.map("copy", shape_of(node), dtype_of(node), value)
    target = torch.ops.aten.select.int if "select" in str(node.target) else torch.ops.aten.slice.Tensor
    fake = torch.empty(out.buffer.size, device="meta").as_strided(out.shape, out.strides, out.offset)
    part = target(fake, *args, **kwargs)
    low.copy(source, View(out.buffer, tuple(part.shape), tuple(part.stride()), int(part.storage_offset())))
    return out


# Products.


def product(low: Lowering, node: Node, a: Value, b: Value) -> View:
    """`mm` and `bmm`: by known matrices a linear map."""
    shape = shape_of(node)
    if isinstance(b, Tensor) and isinstance(a, View) and a.shape[-2] == 1:
        matrices = b if b.ndim == 3 else b[None]
        x = View(
            a.buffer,
            (matrices.shape[0], a.shape[-1]),
            (a.strides[0] if len(a.shape) == 3 else 0, a.strides[-1]),
            a.offset,
        )
        if x.strides[1] != 1 and x.shape[1] > 1:
            x = low.map("copy", x.shape, x.dtype, x)
        y = low.linear(x, matrices.transpose(1, 2), None, b)
        return View(y.buffer, shape, (*([y.strides[0]] if len(shape) == 3 else []), 0, 1), y.offset)
    a, b = low.view(a), low.view(b)
    out = low.work(shape, dtype_of(node))
    low.call("matmul", (a, b), (out,))
    return out


def product_and_sum(
    low: Lowering, node: Node, bias: Value, a: Value, b: Value, *, beta: Any = 1, alpha: Any = 1
) -> View:
    """`addmm`."""
    if beta != 1 or alpha != 1:
        raise InputError(f"{low.part} of this {low.model} scales a product, which an export to code lacks")
    return low.map("add", shape_of(node), dtype_of(node), product(low, node, a, b), bias)
