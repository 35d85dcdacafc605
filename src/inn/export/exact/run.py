"""Plain programs run by NumPy, many streams at once: the bits are those of IEEE 754, on any machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from inn.export.program import Buffer, Call, Loop, Map, Operand, Program, Take, View

_TYPES = {"float64": np.float64, "int64": np.int64, "bool": np.bool_}
_BIAS, _FRACTION = 1023, 52  # of a float64


def halves(x: np.ndarray) -> np.ndarray:
    """Sums over the last axis: of n numbers the last n // 2 are added to the first ones, until one is left.

    >>> halves(np.array([[1e16, 3.0, -1e16]])).tolist()  # (1e16 - 1e16) + 3
    [3.0]
    """
    left = x.shape[-1]
    if left == 1:
        return x[..., 0]
    rest = left // 2
    y = x[..., : left - rest].copy()
    y[..., :rest] += x[..., left - rest :]
    left -= rest
    while left > 1:
        rest = left // 2
        y[..., :rest] += y[..., left - rest : left]
        left -= rest
    return y[..., 0]


def _two(n: np.ndarray, out: np.ndarray) -> None:
    out[...] = (n.astype(np.int64) + _BIAS << _FRACTION).view(np.float64)


def _exponent(x: np.ndarray, out: np.ndarray) -> None:
    out[...] = (np.ascontiguousarray(x).view(np.int64) >> _FRACTION) - _BIAS


def _remainder(a: Any, b: Any, out: np.ndarray) -> None:
    out[...] = np.remainder(a, b) if out.dtype == np.int64 else a - b * np.floor(a / b)


def _floordiv(a: Any, b: Any, out: np.ndarray) -> None:
    out[...] = np.floor_divide(a, b) if out.dtype == np.int64 else np.floor(a / b)


def _truncdiv(a: Any, b: Any, out: np.ndarray) -> None:
    out[...] = (
        np.trunc(np.true_divide(a, b)) if out.dtype == np.float64 else np.sign(a) * np.sign(b) * (abs(a) // abs(b))
    )


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "round": np.rint, "sign": np.sign, "minimum": np.minimum,
    "maximum": np.maximum, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_not": np.logical_not,
    "logical_xor": np.logical_xor, "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor, "bitwise_not": np.invert, "isnan": np.isnan, "isinf": np.isinf,
    "relu": lambda x, out: np.maximum(x, 0, out=out), "two": _two, "exponent": _exponent, "remainder": _remainder,
    "floordiv": _floordiv, "truncdiv": _truncdiv,
    "where": lambda c, a, b, out: np.copyto(out, np.where(c, a, b), casting="unsafe"),
    "copy": lambda x, out: np.copyto(out, x, casting="unsafe"),
}  # fmt: skip


class Streams:
    """A plain program and what it carries of B streams, which read a symbol each at every step.

    Elementwise operations are NumPy's, one at a time, so that nothing is fused; sums are taken by `halves`; products
    are of whole numbers whose sums are exact, so that it does not matter how a library for matrices adds them up.

    Args:
        program: as `plain` makes it.
        streams: B.

    Example: ``Streams(plain(program_of(model)), 8).step(numpy.zeros(8, int))["odds"]  # [8, V]``
    """

    def __init__(self, program: Program, streams: int):
        self.program, self.streams = program, streams
        self._arrays: dict[Buffer, np.ndarray] = {}
        self._steps: list[Callable[[], Any]] = []
        for buffer in program.states:
            assert buffer.data is not None
            self._array(buffer)[...] = buffer.data.numpy().reshape(-1)
        self._free: dict[tuple[str, int], list[np.ndarray]] = {}
        ops = [one for op in program.ops for one in (op.maps if isinstance(op, Loop) else (op,))]
        ends = {v.buffer: i for i, op in enumerate(ops) for v in (*op.reads(), *op.writes()) if v.buffer.kind == "work"}
        for i, op in enumerate(ops):
            self._steps.append(self._map(op) if isinstance(op, Map) else getattr(self, f"_{op.name}")(op))
            for buffer in {v.buffer for v in (*op.reads(), *op.writes())}:
                if ends.get(buffer) == i:  # its room is another's from here on, so that little memory is warm
                    self._free.setdefault((buffer.dtype, buffer.size), []).append(self._arrays[buffer])

    def step(self, symbols: np.ndarray, given: Mapping[str, np.ndarray] = {}) -> dict[str, np.ndarray]:
        """Read symbols `[B]`; `given` are the controls `[B, ...]`. Returns `logits` and `odds` `[B, V]`, not kept."""
        self._array(self.program.symbol)[...] = np.asarray(symbols).reshape(self.streams, -1)
        for buffer in self.program.controls:
            self._array(buffer)[...] = np.asarray(given[buffer.name]).reshape(self.streams, -1)
        with np.errstate(all="ignore"):
            for step in self._steps:
                step()
        outputs = (self.program.logits, *self.program.told)
        return {b.name: self._array(b).reshape(self.streams, *b.shape) for b in outputs}

    # Arrays.

    def _array(self, buffer: Buffer) -> np.ndarray:
        """The numbers of a buffer `[B, size]`; a weight's are there once, `[size]`."""
        if buffer not in self._arrays:
            kind = _TYPES[buffer.dtype]
            if buffer.kind == "weight":
                assert buffer.data is not None
                self._arrays[buffer] = np.ascontiguousarray(buffer.data.numpy().reshape(-1), dtype=kind)
            else:
                free = self._free.get((buffer.dtype, buffer.size)) if buffer.kind == "work" else None
                new = free.pop() if free else np.zeros((self.streams, max(buffer.size, 1)), dtype=kind)
                self._arrays[buffer] = new
        return self._arrays[buffer]

    def _view(self, view: View) -> np.ndarray:
        array = self._array(view.buffer)
        before = () if view.buffer.kind == "weight" else (0,)
        shape = (*array.shape[: len(before)], *view.shape)
        steps = (*array.strides[: len(before)], *(step * array.itemsize for step in view.strides))
        if not array.size or 0 in view.shape:
            return np.zeros(shape, array.dtype)
        return as_strided(array[..., view.offset :], shape, steps)

    def _operand(self, one: Operand) -> Callable[[], Any]:
        if isinstance(one, Take):
            return self._take(one)
        if isinstance(one, View):
            array = self._view(one)
            return lambda: array
        return lambda: one

    def _take(self, one: Take) -> Callable[[], Any]:
        array, shape = self._array(one.view.buffer), one.view.shape
        places = np.full(shape, one.view.offset, dtype=np.int64)
        for axis, step in enumerate(one.view.strides):
            places += (step * np.arange(shape[axis])).reshape(-1, *[1] * (len(shape) - axis - 1))
        picks = [(self._view(view), step, size) for view, step, size in one.picks]
        rows = np.arange(self.streams).reshape(-1, *[1] * len(shape))

        def taken() -> np.ndarray:
            at: Any = places
            for place, step, size in picks:
                at = at + np.where(place < 0, place + size, place) * step
            return array[at] if array.ndim == 1 else array[rows, at]

        return taken

    # Operations.

    def _map(self, op: Map) -> Callable[[], Any]:
        out, function = self._view(op.output), FUNCTIONS[op.fn]
        given = [self._operand(i) for i in op.inputs]
        ufunc = isinstance(function, np.ufunc) and op.fn not in ("bitwise_not",)
        if any(isinstance(i, Take) for i in op.inputs):
            return lambda: function(*(one() for one in given), out=out)
        fixed = [one() for one in given]
        if ufunc and op.output.dtype != "float64" and function.nin == 2:  # whole numbers of a type, or bool
            return lambda: function(*fixed, out=out, casting="unsafe")
        return lambda: function(*fixed, out=out)

    def _products(self, op: Call) -> Callable[[], Any]:
        x, weight = (self._view(v) for v in op.inputs)
        out = self._view(op.outputs[0])
        if weight.shape[0] == 1:
            one = weight[0]
            return lambda: np.matmul(x, one, out=out)
        turned, target = x.swapaxes(0, 1), out.swapaxes(0, 1)

        def each() -> None:
            target[...] = np.matmul(turned, weight)

        return each

    def _rows(self, op: Call) -> tuple[np.ndarray, np.ndarray, int]:
        """What is read, what comes out, and how many axes go."""
        return self._view(op.inputs[0]), self._view(op.outputs[0]), op.options["axes"]

    def _sum(self, op: Call) -> Callable[[], Any]:
        x, out, axes = self._rows(op)

        def run() -> None:
            out[...] = halves(x if axes == 1 else x.reshape(*x.shape[:-axes], -1))

        return run

    def _reduced(self, op: Call, function: Callable[..., Any]) -> Callable[[], Any]:
        x, out, axes = self._rows(op)
        last = tuple(range(x.ndim - axes, x.ndim))

        def run() -> None:
            out[...] = function(x, axis=last)

        return run

    def _amax(self, op: Call) -> Callable[[], Any]:
        return self._reduced(op, np.max)

    def _amin(self, op: Call) -> Callable[[], Any]:
        return self._reduced(op, np.min)

    def _any(self, op: Call) -> Callable[[], Any]:
        return self._reduced(op, np.any)

    def _all(self, op: Call) -> Callable[[], Any]:
        return self._reduced(op, np.all)

    def _sort(self, op: Call) -> Callable[[], Any]:
        x, (values, places) = self._view(op.inputs[0]), map(self._view, op.outputs)
        sign, count = -1 if op.options["descending"] else 1, op.outputs[0].shape[-1]

        def run() -> None:
            order = np.argsort(sign * x, axis=-1, kind="stable")[..., :count]
            values[...], places[...] = np.take_along_axis(x, order, -1), order

        return run

    def _scatter(self, op: Call) -> Callable[[], Any]:
        index, given, out = (self._view(v) for v in (*op.inputs, *op.changes))
        add, size = op.options["add"], out.shape[-1]
        grid = np.ogrid[tuple(map(slice, index.shape if index.ndim == out.ndim else out.shape))][:-1]

        def run() -> None:
            places = (*grid, np.where(index < 0, index + size, index))
            if add:
                np.add.at(out, places, given)  # one after the other, where a place comes again
            else:
                out[places] = given

        return run
