"""A program in plain steps: every operation as maps, exact products and sums in one order, in float64 throughout."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log2
from typing import Any

import numpy as np
import torch

from inn.export.exact.functions import FORMULAS, KEPT, Formulas
from inn.export.lowering import Lowering
from inn.export.passes import squeezed, together, without_dead
from inn.export.program import Buffer, Call, Loop, Map, Operand, Program, Take, View, strides_of
from inn.ops.votes.reference import BUCKETS, COUNTS, LEVELS, SURE
from inn.system.errors import InputError

ODDS = 30
"""The likeliest symbol's odds are 2^ODDS, all others' a whole number below."""
_EXACT = 53  # bits of a float64: whole numbers up to 2^53 are exact, and so are their sums, in any order
_LEAST = 2.0**-100  # of what a linear map reads: below it the numbers of a row count as zero
_VOTE = 1.5 * 2.0**16  # x + _VOTE - _VOTE is a whole multiple of 2^-36
_SYMBOL, _RUN = COUNTS, len(SURE)
_KINDS = {"bool": "bool", **dict.fromkeys(("int64", "int32", "uint8"), "int64")}


def plain(program: Program) -> Program:
    """The same step in plain operations, and what it predicts as `odds`: whole numbers in place of probabilities.

    Maps are of the functions `KEPT`, `two` and `exponent`, of which IEEE 754 leaves one result. Beside them there are

    - `products`: of whole numbers and whole weights `[P, I, O]`, so few bits each that all sums are exact, in any
      order, fused or not, on one thread or many;
    - `sum`: by halves (`inn.export.exact.run.halves`); `amax`, `amin`, `any`, `all`; `sort`, of equals the first first;
    - `scatter`.

    The symbol that is read, what it finds and what is carried are as in `program`, in float64; `told` is `odds`.
    Raises `InputError`, with the name of the operation, for one that has no such form.
    """
    writer = Plain()
    for op in program.ops:
        for one in op.maps if isinstance(op, Loop) else (op,):
            writer.part = op.part
            writer.map_(one) if isinstance(one, Map) else writer.call_(one)  # type: ignore[arg-type]
    logits = writer.buffer(program.logits)
    odds = Buffer("odds", "output", logits.shape, "float64")
    writer.odds(_all(logits), _all(odds))
    ops = together(squeezed(without_dead(writer.low.ops)))
    carried = {key: writer.view(view) for key, view in program.carried.items()}
    states, controls = ([*map(writer.buffer, given)] for given in (program.states, program.controls))
    return Program(writer.buffer(program.symbol), logits, states, carried, ops, controls, [odds])


def _all(buffer: Buffer) -> View:
    return View(buffer, buffer.shape, strides_of(buffer.shape))


class Plain:
    """Writes the operations of a program as plain ones."""

    def __init__(self) -> None:
        self.low = Lowering("model", {})
        self.part = ""
        self._buffers: dict[Buffer, Buffer] = {}
        self._whole: dict[Buffer, tuple[View, View, float]] = {}
        self._tables = {
            name: self.low.view(torch.tensor(numbers)) for name, numbers in (("levels", LEVELS), ("sure", (0, *SURE)))
        }

    # What is there, in float64.

    def buffer(self, old: Buffer) -> Buffer:
        """An array with numbers of 64 bits."""
        if old not in self._buffers:
            kind = _KINDS.get(old.dtype, "float64")
            data = None if old.data is None else old.data.to(getattr(torch, kind))
            own = old.kind in ("work", "weight")  # others are known by their names
            name = f"{old.name}_given" if own else old.name
            self._buffers[old] = replace(old, name=name, dtype=kind, data=data, linear=False)
        return self._buffers[old]

    def view(self, old: View) -> View:
        return replace(old, buffer=self.buffer(old.buffer))

    def operand(self, one: Operand) -> Any:
        if isinstance(one, Take):
            return Take(self.view(one.view), tuple((self.view(v), step, size) for v, step, size in one.picks))
        return self.view(one) if isinstance(one, View) else one

    def put(self, fn: str, out: View, *inputs: Any, within: str | None = None) -> None:
        """An elementwise function into a place that is there."""
        operands = tuple(i if isinstance(i, Take) else self.low.operand(i, out.shape) for i in inputs)
        self.low.ops.append(Map(fn, operands, out, within or out.dtype, self.part))

    # Maps.

    def map_(self, op: Map) -> None:
        self.low.part = op.part
        inputs, out = [self.operand(i) for i in op.inputs], self.view(op.output)
        signed = op.fn in ("maximum", "minimum", "relu") and out.dtype == "float64"
        if signed and not any(isinstance(i, float) and i for i in inputs):  # of 0 and -0 either may be the larger
            self.put("add", out, self.low.map(op.fn, out.shape, "float64", *inputs), 0.0)
        elif op.fn in KEPT:
            self.put(op.fn, out, *inputs, within=_KINDS.get(op.dtype, "float64"))
        elif op.fn in FORMULAS:
            f = Formulas(self.low, out.shape)
            given = [f.of("copy", i) if isinstance(i, Take) or _whole(i) else i for i in inputs]
            self.put("copy", out, FORMULAS[op.fn](f, *given))
        else:
            raise InputError(
                f"{op.part} of this model takes the function '{op.fn}', which has no form that is the same on every "
                "machine; leave --portable out"
            )

    # Named operations.

    def call_(self, op: Call) -> None:
        self.low.part = op.part
        known = getattr(self, f"_{op.name}", None)
        if known is None:
            raise InputError(
                f"{op.part} of this model takes the operation '{op.name}', which has no form that is the same on every "
                "machine; leave --portable out"
            )
        inputs = [None if v is None else self.view(v) for v in op.inputs]
        known(op, *inputs, *map(self.view, op.outputs), *map(self.view, op.changes))

    def sum(self, x: View, axes: int = 1) -> View:
        """The sum over the last axes."""
        out = self.low.work(x.shape[: len(x.shape) - axes], x.dtype)
        self.low.call("sum", (x,), (out,), axes=axes)
        return out

    def largest(self, x: View) -> View:
        """The largest number along the last axis."""
        out = self.low.work(x.shape[:-1], x.dtype)
        self.low.call("amax", (x,), (out,), axes=1)
        return out

    def _linear(self, op: Call, x: View, weight: View, bias: View | None, out: View) -> None:
        rows = out.shape[0]
        numbers, unit, most = self._whole_of(op.inputs[1].buffer)
        f, g = Formulas(self.low, x.shape), Formulas(self.low, (rows, 1))
        size = g.of("maximum", _column(self.largest(f.of("abs", x))), _LEAST)
        scale = g.of("two", g.of("add", g.of("exponent", size), 1.0))
        given = f.whole(f.of("mul", x, g.of("div", most, scale).broadcast(x.shape)))
        found = self.low.work(out.shape, "float64")
        self.low.call("products", (given, numbers), (found,))
        h = Formulas(self.low, out.shape)
        scaled = h.of("mul", h.of("mul", found, unit.broadcast(out.shape)), scale.broadcast(out.shape))
        self.put("copy", out, scaled) if bias is None else self.put("add", out, scaled, bias.broadcast(out.shape))

    def _whole_of(self, weight: Buffer) -> tuple[View, View, float]:
        """Matrices `[P, O, I]` as whole numbers `[P, I, O]`, the unit of each row `[P, O]`, and 2^bits."""
        if weight not in self._whole:
            assert weight.data is not None
            data = weight.data.double().numpy()
            bits = (_EXACT - ceil(log2(data.shape[-1]))) // 2
            size = np.frexp(np.abs(data).max(-1, keepdims=True))[1]
            whole = np.rint(np.ldexp(data, bits - size)).swapaxes(1, 2)
            unit = np.ldexp(1.0, size[..., 0] - 2 * bits)
            named = [self.low.named(torch.from_numpy(t.copy()), weight.data) for t in (whole, unit)]
            self._whole[weight] = self.low.view(named[0]), self.low.view(named[1]), 2.0**bits
        return self._whole[weight]

    def _norm(self, op: Call, x: View, gain: View, bias: View, out: View) -> None:
        f, g = Formulas(self.low, x.shape), Formulas(self.low, (x.shape[0], 1))
        width = float(x.shape[1])
        from_mean = f.of("sub", x, g.of("div", _column(self.sum(x)), width).broadcast(x.shape))
        square = g.of("div", _column(self.sum(f.of("mul", from_mean, from_mean))), width)
        scale = g.of("div", 1.0, g.of("sqrt", g.of("add", square, op.options["epsilon"])))
        y = f.of("mul", f.of("mul", from_mean, scale.broadcast(x.shape)), gain.broadcast(x.shape))
        self.put("add", out, y, bias.broadcast(x.shape))

    def _conv(self, op: Call, x: View, weight: View, bias: View, out: View, past: View) -> None:
        f, taps = Formulas(self.low, x.shape), weight.shape[1]
        before = View(past.buffer, (x.shape[0], taps - 1, x.shape[1]), strides_of((x.shape[0], taps - 1, x.shape[1])))
        y = f.of("add", bias.broadcast(x.shape), f.of("mul", x, _at(weight, taps - 1).broadcast(x.shape)))
        for k in range(taps - 1):
            y = f.of("add", y, f.of("mul", _at(before, k), _at(weight, k).broadcast(x.shape)))
        y = f.silu(y)
        for k in range(taps - 1):
            self.put("copy", _at(before, k), x if k == taps - 2 else _at(before, k + 1))
        self.put("copy", out, y)

    def _scan(self, op: Call, x, dt, B, C, z, A, D, out: View, h: View) -> None:
        (neurons, width), states = out.shape, h.shape[-2]
        own = View(h.buffer, (neurons, states, width), (states * h.shape[-1], h.shape[-1], 1), h.offset)
        rate = View(A.buffer, own.shape, (A.strides[0], A.strides[1], 1), A.offset)
        f, g = Formulas(self.low, out.shape), Formulas(self.low, own.shape)

        def each(v: View, axis: int) -> View:
            return View(v.buffer, own.shape, (v.strides[0], *((v.strides[1], 0)[:: 1 - 2 * axis])), v.offset)

        step = f.softplus(dt)
        decay = g.exp(g.of("mul", rate, each(step, 1)))
        fresh = g.of("mul", each(f.of("mul", x, step), 1), each(B, 0))
        self.put("add", own, g.of("mul", decay, own), fresh)
        said = self.sum(g.of("mul", own, each(C, 0)).axes((0, 2, 1)))
        said = f.of("add", said, f.of("mul", x, D.broadcast(x.shape)))
        self.put("mul", out, said, f.silu(z))

    def _softmax(self, op: Call, x: View, out: View) -> None:
        f = Formulas(self.low, x.shape)
        shares = f.exp(f.of("sub", x, _column(self.largest(x)).broadcast(x.shape)), True)
        self.put("div", out, shares, _column(self.sum(shares)).broadcast(x.shape))

    def _log_softmax(self, op: Call, x: View, out: View) -> None:
        f, g = Formulas(self.low, x.shape), Formulas(self.low, (*x.shape[:-1], 1))
        most = _column(self.largest(x))
        below = f.of("sub", x, most.broadcast(x.shape))
        self.put("sub", out, below, g.log(_column(self.sum(f.exp(below, True)))).broadcast(x.shape))

    def _sum(self, op: Call, x: View, out: View) -> None:
        self.low.call("sum", (x,), (out,), axes=op.options["axes"])

    def _mean(self, op: Call, x: View, out: View) -> None:
        count = 1
        for size in x.shape[len(out.shape) :]:
            count *= size
        self.put("div", out, self.sum(x, op.options["axes"]), float(count))

    def _as_it_is(self, op: Call, *views: View) -> None:
        count = len(op.inputs), len(op.inputs) + len(op.outputs)
        self.low.call(op.name, views[: count[0]], views[count[0] : count[1]], views[count[1] :], **op.options)

    _any = _all = _sort = _scatter = _as_it_is

    def _amax(self, op: Call, x: View, out: View) -> None:
        found = self.low.work(out.shape, out.dtype)
        self.low.call(op.name, (x,), (found,), axes=op.options["axes"])
        self.put("add", out, found, 0)  # of 0 and -0 either may be the larger

    _amin = _amax

    def _cumsum(self, op: Call, x: View, out: View) -> None:
        self.put("copy", _last(out, 0), _last(x, 0))
        for k in range(1, x.shape[-1]):
            self.put("add", _last(out, k), _last(out, k - 1), _last(x, k))

    def _matmul(self, op: Call, a: View, b: View, out: View) -> None:
        *batch, rows, columns = out.shape
        shape = (*batch, rows, columns, a.shape[-1])
        a, b = a.broadcast((*batch, *a.shape[-2:])), b.broadcast((*batch, *b.shape[-2:]))
        left = View(a.buffer, shape, (*a.strides[:-1], 0, a.strides[-1]), a.offset)
        right = View(b.buffer, shape, (*b.strides[:-2], 0, b.strides[-1], b.strides[-2]), b.offset)
        self.low.call("sum", (Formulas(self.low, shape).of("mul", left, right),), (out,), axes=1)

    # Followers that were counted.

    def _told(self, found: View, last: View, table: View) -> tuple[View, View, View]:
        """Of followers `[K, F]`: whether there is one, its symbol, and the number of its bucket."""
        found, last = found.axes(range(len(found.shape) - 2, len(found.shape))), last.axes((len(last.shape) - 1,))
        shape = found.shape

        def of(fn: str, *inputs: Any) -> View:
            return self.low.map(fn, shape, "int64", *inputs)

        def taken(table: View, place: View, size: int) -> View:
            own = View(table.buffer, shape, (0,) * len(shape), table.offset)
            return self.low.map("copy", shape, table.dtype, Take(own, ((place, 1, size),)))

        there = self.low.map("ge", shape, "bool", found, 0, within="int64")
        count = of("where", there, of("bitwise_and", found, COUNTS - 1), 0)
        others = of("minimum", of("sub", _column(self.sum(count)).broadcast(shape), count), COUNTS - 1)
        symbol = of("floordiv", of("maximum", found, 0), COUNTS)
        newest = of("maximum", _column(last).broadcast(shape), 0)
        same = self.low.map("eq", shape, "bool", symbol, of("floordiv", newest, _RUN), within="int64")
        run = of("where", same, of("add", of("bitwise_and", newest, _RUN - 1), 1), 0)
        sure = taken(self._tables["sure"], run, _RUN + 1)
        level, other = (taken(self._tables["levels"], one, COUNTS) for one in (count, others))
        bucket = of("add", of("mul", of("add", of("mul", level, 16), other), 4), sure)
        own = View(table.buffer, shape, (table.strides[0], 0), table.offset)
        number = self.low.map("copy", shape, "float64", Take(own, ((bucket, 1, BUCKETS),)))
        return there, symbol, number

    def _votes(self, op: Call, found: View, last: View, table: View, weights: View, out: View) -> None:
        there, symbol, number = self._told(found, last, table)
        f = Formulas(self.low, number.shape)
        vote = f.of("mul", number, _column(weights.axes((len(weights.shape) - 1,))).broadcast(number.shape))
        vote = f.of("where", there, f.of("sub", f.of("add", vote, _VOTE), _VOTE), 0.0)
        scores = out.axes((len(out.shape) - 1,))
        self.put("copy", scores, 0.0)
        flat = (number.shape[0] * number.shape[1],)
        places, given = (View(v.buffer, flat, (1,), v.offset) for v in (symbol, vote))
        self.low.call("scatter", (places, given), (), (scores,), add=True)

    def _expected(self, op: Call, found: View, last: View, table: View, symbols: View, out: View) -> None:
        there, symbol, number = self._told(found, last, table)
        number = Formulas(self.low, number.shape).of("where", there, number, 0.0)
        contexts, room = number.shape
        shape = (contexts, symbols.shape[1], room)
        vectors = View(symbols.buffer, shape, (0, symbols.strides[1], 0), symbols.offset)
        pick = View(symbol.buffer, shape, (room, 0, 1), symbol.offset)
        f = Formulas(self.low, shape)
        vector = f.of("copy", Take(vectors, ((pick, symbols.strides[0], symbols.shape[0]),)))
        values = f.of("mul", vector, View(number.buffer, shape, (room, 0, 1), number.offset))
        self.low.call("sum", (values,), (out.axes((len(out.shape) - 2, len(out.shape) - 1)),), axes=1)

    def odds(self, logits: View, out: View) -> None:
        """e^logits as whole numbers, the largest of them 2^ODDS."""
        self.part = self.low.part = "odds"
        f = Formulas(self.low, logits.shape)
        below = f.of("sub", logits, _column(self.largest(logits)).broadcast(logits.shape))
        self.put("floor", out, f.of("mul", f.exp(below), 2.0**ODDS))


def _whole(one: Any) -> bool:
    return isinstance(one, View) and one.dtype != "float64"


def _column(v: View) -> View:
    """One more axis, of one number."""
    return View(v.buffer, (*v.shape, 1), (*v.strides, 0), v.offset)


def _at(v: View, k: int) -> View:
    """Number k along the second axis."""
    return View(v.buffer, (v.shape[0], *v.shape[2:]), (v.strides[0], *v.strides[2:]), v.offset + k * v.strides[1])


def _last(v: View, k: int) -> View:
    """Number k along the last axis."""
    return View(v.buffer, v.shape[:-1], v.strides[:-1], v.offset + k * v.strides[-1])
