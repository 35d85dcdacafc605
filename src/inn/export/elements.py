"""Views, and functions of numbers element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from inn.export.lowering import Lowering, Value, dtype_of, shape_of
from inn.export.program import Take, View


def seen(low: Lowering, node: Node, value: View, *args: Any, **kwargs: Any) -> Value:
    """The same numbers, seen otherwise: PyTorch works out where they stand."""
    fake = torch.empty(max(value.buffer.size, 1), device="meta").as_strided(value.shape, value.strides, value.offset)
    try:
        found = node.target(fake, *args, **kwargs)  # type: ignore[operator]
    except RuntimeError:  # they do not stand so that they can be seen in this shape
        return seen(low, node, low.map("copy", value.shape, value.dtype, value), *args, **kwargs)

    def view(t: Tensor) -> View:
        return View(value.buffer, tuple(t.shape), tuple(t.stride()), int(t.storage_offset()))

    return [view(t) for t in found] if isinstance(found, (list, tuple)) else view(found)


def same(low: Lowering, node: Node, value: View, *args: Any, **kwargs: Any) -> View:
    """The value itself."""
    return value


def nothing(low: Lowering, node: Node, *args: Any, **kwargs: Any) -> None:
    """No value."""


def item(low: Lowering, node: Node, values: Sequence[Value], i: int) -> Value:
    """One of several values."""
    return values[i]


# Maps.


def mapped(fn: str, inputs: int) -> Callable[..., View]:
    """A function of numbers, in the type of what comes out."""

    def lower(low: Lowering, node: Node, *args: Any, **kwargs: Any) -> View:
        if kwargs.get("alpha", 1) != 1:
            scaled = low.map("mul", shape_of(node), dtype_of(node), args[1], kwargs["alpha"])
            args = (args[0], scaled)
        kind = dtype_of(node)
        within = kind
        if kind == "bool":
            within = _compared(args)
        return low.map(fn, shape_of(node), kind, *args[:inputs], within=within)

    return lower


def _compared(args: Sequence[Value]) -> str:
    """The type in which numbers are compared."""
    found = torch.bool
    for one in args:
        own = {bool: torch.bool, int: torch.int64, float: torch.float32}.get(type(one)) or _kind(one)
        beside = isinstance(one, (int, float)) and found.is_floating_point
        found = found if beside else torch.promote_types(found, own)
    return str(found).removeprefix("torch.")


def _kind(value: Value) -> torch.dtype:
    return value.dtype if isinstance(value, Tensor) else getattr(torch, value.dtype)


def converted(low: Lowering, node: Node, value: View, **kwargs: Any) -> View:
    """Numbers in another type."""
    if value.dtype == dtype_of(node):
        return value
    return low.map(
        "copy", shape_of(node), dtype_of(node), value, within=value.dtype if dtype_of(node) == "bool" else None
    )


def clamped(low: Lowering, node: Node, value: View, least: Any = None, most: Any = None) -> View:
    """Numbers within bounds."""
    for fn, bound in (("maximum", least), ("minimum", most)):
        if bound is not None:
            value = low.map(fn, shape_of(node), dtype_of(node), value, bound)
    return value


def power(low: Lowering, node: Node, value: View, exponent: float) -> View:
    """Numbers to a power."""
    if exponent == 2:
        return low.map("mul", shape_of(node), dtype_of(node), value, value)
    return low.map("pow", shape_of(node), dtype_of(node), value, exponent)


def divided(low: Lowering, node: Node, a: Value, b: Value, rounding_mode: str | None = None) -> View:
    """A quotient, rounded or not."""
    fn = {None: "div", "floor": "floordiv", "trunc": "truncdiv"}[rounding_mode]
    return low.map(fn, shape_of(node), dtype_of(node), a, b)


def gelu(low: Lowering, node: Node, value: View, approximate: str = "none") -> View:
    """GELU, exact or by tanh."""
    return low.map("gelu" if approximate == "none" else "gelu_tanh", shape_of(node), dtype_of(node), value)


def softplus(low: Lowering, node: Node, value: View, beta: float = 1, threshold: float = 20) -> View:
    """log(1 + e^(beta x)) / beta; where the threshold is, both sides agree to 2e-9."""
    shape, kind = shape_of(node), dtype_of(node)
    if beta == 1:
        return low.map("softplus", shape, kind, value)
    return low.map("div", shape, kind, low.map("softplus", shape, kind, low.map("mul", shape, kind, value, beta)), beta)


def log_sigmoid(low: Lowering, node: Node, value: View) -> list[Value]:
    """log(1 / (1 + e^-x)) = -log(1 + e^-x)."""
    shape, kind = value.shape, value.dtype
    below = low.map("softplus", shape, kind, low.map("neg", shape, kind, value))
    return [low.map("neg", shape, kind, below), None]


def filled(low: Lowering, node: Node, value: View, number: Any = None, **kwargs: Any) -> Tensor:
    """One number everywhere; the value's are of no account."""
    if number is None:
        number = 1 if "ones" in str(node.target) else 0
    return torch.full(shape_of(node), number, dtype=getattr(torch, dtype_of(node)))


def embedded(low: Lowering, node: Node, weight: Value, index: Value, *args: Any) -> View:
    """Rows of a table."""
    return indexed(low, node, weight, [index])


def indexed(low: Lowering, node: Node, value: Value, places: Sequence[Value]) -> View:
    """Numbers at places that are numbers themselves, as PyTorch indexes."""
    shape, source = shape_of(node), low.view(value)
    axes = [axis for axis, place in enumerate(places) if place is not None]
    given = [low.view(places[axis]) for axis in axes]
    rank = max(len(g.shape) for g in given)
    common = torch.broadcast_shapes(*(g.shape for g in given))
    beside = axes == list(range(axes[0], axes[-1] + 1))
    first = axes[0] if beside else 0
    others = [axis for axis in range(len(source.shape)) if axis not in axes]
    before, after = (others[:first], others[first:])
    steps = [source.strides[a] for a in before] + [0] * rank + [source.strides[a] for a in after]
    picks = []
    for axis, g in zip(axes, given):
        g = g.broadcast(common)
        own = (*[0] * len(before), *g.strides, *[0] * len(after))
        picks.append((View(g.buffer, shape, own, g.offset), source.strides[axis], source.shape[axis]))
    take = Take(View(source.buffer, shape, tuple(steps), source.offset), tuple(picks))
    return low.map("copy", shape, source.dtype, take)


def selected(low: Lowering, node: Node, value: Value, axis: int, index: Value) -> View:
    """Slices along one axis, at places that are numbers."""
    rank = len(low.view(value).shape)
    return indexed(low, node, value, [index if a == axis % rank else None for a in range(rank)])


def gathered(low: Lowering, node: Node, value: Value, axis: int, index: Value) -> View:
    """Numbers whose place along one axis is a number."""
    shape, source, index = shape_of(node), low.view(value), low.view(index)
    steps = [0 if a == axis % len(shape) else s for a, s in enumerate(source.strides)]
    pick = (index, source.strides[axis], source.shape[axis])
    return low.map("copy", shape, source.dtype, Take(View(source.buffer, shape, tuple(steps), source.offset), (pick,)))
