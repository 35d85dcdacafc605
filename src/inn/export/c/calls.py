"""Named operations of a program in C."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from inn.export.c.printer import TYPES, Loops, number
from inn.export.program import Call, View
from inn.system.errors import InputError


class Printer(Loops):
    """Prints all operations of a program."""

    def _do_linear(self, op: Call) -> None:
        x, weight, bias = op.inputs
        (y,) = op.outputs
        neurons, inputs = x.shape
        outputs = weight.shape[1]
        step = outputs * inputs if weight.shape[0] > 1 else 0
        given = f"{self.pointer(bias)}, {bias.strides[0]}" if bias is not None else "0, 0"
        tail = f"{given}, {neurons}, {outputs}, {inputs});"
        start = f"{self.pointer(y)}, {self.pointer(x)}, {x.strides[0]}, {self.base(weight.buffer)}, {step}"
        if weight.buffer in self.quantised:
            scale = f"w + {weight.buffer.name.upper()}_SCALE, {outputs if weight.shape[0] > 1 else 0}"
            self.write("linear_int8", f"linear_int8({start}, {scale}, {tail}")
        else:
            self.write("linear", f"linear({start}, {tail}")

    def _do_norm(self, op: Call) -> None:
        rows, width = op.outputs[0].shape
        given = ", ".join(f"{self.pointer(v)}, {v.strides[0]}" for v in op.inputs if v is not None)
        epsilon = number(op.options["epsilon"], "float32")
        self.write("norm", f"norm({self.pointer(op.outputs[0])}, {given}, {rows}, {width}, {epsilon});")

    def _do_conv(self, op: Call) -> None:
        neurons, width = op.outputs[0].shape
        given = ", ".join(f"{self.pointer(v)}, {v.strides[0]}" for v in op.inputs if v is not None)
        taps = op.inputs[1].shape[1]
        past = self.pointer(op.changes[0])
        self.write("conv", f"conv({self.pointer(op.outputs[0])}, {given}, {past}, {neurons}, {width}, {taps});")

    def _do_scan(self, op: Call) -> None:
        neurons, width = op.outputs[0].shape
        given = ", ".join(f"{self.pointer(v)}, {v.strides[0]}" for v in op.inputs if v is not None)
        states, wide = op.changes[0].shape[-2:]
        h = self.pointer(op.changes[0])
        self.write("scan", f"scan({self.pointer(op.outputs[0])}, {given}, {h}, {neurons}, {width}, {wide}, {states});")

    def _do_recall(self, op: Call) -> None:
        table, recent = op.changes
        orders = op.options["orders"]
        name = f"orders{len(self.lines)}"
        self.lines.append(f"  static const int {name}[] = {{{', '.join(map(str, orders))}}};")
        self.write(
            "recall",
            f"recall({self.pointer(op.outputs[0])}, symbol, {self.pointer(table)}, {self.pointer(recent)}, {name}, "
            f"{len(orders)}, {table.shape[-1]}, {recent.shape[-1]}, s->remember);",
        )

    def _do_keys(self, op: Call) -> None:
        _, recent, letters = op.inputs
        specs = op.options["specs"]
        name = f"contexts{len(self.lines)}"
        self.lines.append(f"  static const int {name}[] = {{{', '.join(map(str, specs))}}};")
        out = ", ".join(self.pointer(v) for v in op.outputs)
        known = "0, 0" if letters is None else f"{self.pointer(letters)}, {letters.shape[0]}"
        self.write(
            "keys",
            f"keys({out}, symbol, {self.pointer(recent)}, {known}, {name}, {len(specs) // 3}, {recent.shape[-1]});",
        )

    def _do_counts(self, op: Call) -> None:
        _, before, after = op.inputs
        (table,) = op.changes
        contexts, slots, words = table.shape[-3:]
        out = ", ".join(self.pointer(v) for v in op.outputs)
        given = f"{self.pointer(before)}, {self.pointer(after)}, {self.pointer(table)}"
        narrow = int(op.options["narrow"])
        self.write("counts", f"counts({out}, symbol, {given}, {contexts}, {slots}, {words}, {narrow}, s->remember);")

    def _do_expected(self, op: Call) -> None:
        given = ", ".join(self.pointer(v) for v in op.inputs if v is not None)
        contexts, room = op.inputs[0].shape[-2:]
        width = op.outputs[0].shape[-1]
        self.write("expected", f"expected({self.pointer(op.outputs[0])}, {given}, {contexts}, {room}, {width});")

    def _do_votes(self, op: Call) -> None:
        given = ", ".join(self.pointer(v) for v in op.inputs if v is not None)
        contexts, room = op.inputs[0].shape[-2:]
        self.write(
            "votes", f"votes({self.pointer(op.outputs[0])}, {given}, {contexts}, {room}, {op.outputs[0].shape[-1]});"
        )

    # Loops round what is more than a map.

    def _over(self, shape: Sequence[int], body: Callable[[list[str], str], list[str]]) -> None:
        indent, indices = "  ", []
        for axis, size in enumerate(shape):
            indices.append(f"i{axis}" if size > 1 else "0")
            if size > 1:
                self.lines.append(f"{indent}for (int i{axis} = 0; i{axis} < {size}; i{axis}++) {{")
                indent += "  "
        self.lines += [indent + line for line in body(indices, indent)]
        while len(indent) > 2:
            indent = indent[:-2]
            self.lines.append(f"{indent}}}")

    def _reduce(self, op: Call, start: str, step: str, end: str = "{}") -> None:
        (x,), (y,) = op.inputs, op.outputs
        kept = len(x.shape) - op.options["axes"]
        kind = TYPES[y.dtype]
        count = math.prod(x.shape[kept:])

        def body(indices: list[str], _: str) -> list[str]:
            inner = [f"k{a}" if size > 1 else "0" for a, size in enumerate(x.shape[kept:])]
            lines = [f"{{ {kind} all = {start};"]
            lines += [f"for (int {k} = 0; {k} < {size}; {k}++)" for k, size in zip(inner, x.shape[kept:]) if size > 1]
            element = self.element(x, [*indices, *inner])
            element = element if x.dtype == y.dtype or y.dtype == "bool" else f"({kind}){element}"
            lines.append("  " + step.format(x=element) + ";")
            lines.append(f"{self.element(y, indices)} = {end.format('all', n=count)}; }}")
            return lines

        self._over(x.shape[:kept], body)

    def _do_sum(self, op: Call) -> None:
        self._reduce(op, "0", "all += {x}")

    def _do_mean(self, op: Call) -> None:
        self._reduce(op, "0", "all += {x}", "{} / {n}")

    def _do_prod(self, op: Call) -> None:
        self._reduce(op, "1", "all *= {x}")

    def _do_amax(self, op: Call) -> None:
        self._reduce(op, _least(op), "all = {x} > all ? {x} : all")

    def _do_amin(self, op: Call) -> None:
        self._reduce(op, _most(op), "all = {x} < all ? {x} : all")

    def _do_any(self, op: Call) -> None:
        self._reduce(op, "0", "all |= {x} != 0")

    def _do_all(self, op: Call) -> None:
        self._reduce(op, "1", "all &= {x} != 0")

    def _do_cumsum(self, op: Call) -> None:
        (x,), (y,) = op.inputs, op.outputs

        def body(indices: list[str], _: str) -> list[str]:
            given, out = self.element(x, [*indices, "k"]), self.element(y, [*indices, "k"])
            kind = TYPES[y.dtype]
            return [
                f"{kind} all{len(self.lines)} = 0;",
                f"for (int k = 0; k < {x.shape[-1]}; k++) {out} = all{len(self.lines)} += ({kind}){given};",
            ]

        self._over(x.shape[:-1], body)

    def _row(self, view: View, indices: Sequence[str]) -> str:
        """Where a row begins, and how far apart its numbers are."""
        return f"&{self.element(view, [*indices, '0'])}, {view.strides[-1]}"

    def _rows(self, op: Call, name: str) -> None:
        (x,), (y,) = op.inputs, op.outputs
        self.used.add(name)
        self._over(x.shape[:-1], lambda i, _: [f"{name}({self._row(y, i)}, {self._row(x, i)}, {x.shape[-1]});"])

    def _do_softmax(self, op: Call) -> None:
        self._rows(op, "softmax")

    def _do_log_softmax(self, op: Call) -> None:
        self._rows(op, "log_softmax")

    def _do_sort(self, op: Call) -> None:
        (x,), (y, places) = op.inputs, op.outputs
        if TYPES[x.dtype] not in ("float", "int64_t"):
            raise InputError(f"{op.part} of this model sorts numbers of {x.dtype}, which C has no form of here")
        kind = "floats" if TYPES[x.dtype] == "float" else "numbers"
        self.used.add(f"sort_{kind}")
        sizes = f"{x.shape[-1]}, {y.shape[-1]}, {int(op.options['descending'])}"

        def body(i: list[str], _: str) -> list[str]:
            return [f"sort_{kind}({self._row(y, i)}, {self._row(places, i)}, {self._row(x, i)}, {sizes});"]

        self._over(x.shape[:-1], body)

    def _do_matmul(self, op: Call) -> None:
        (a, b), (y,) = op.inputs, op.outputs
        kind = TYPES[y.dtype]

        def body(i: list[str], _: str) -> list[str]:
            left, right = self.element(a, [*i[:-1], "k"]), self.element(b, [*i[:-2], "k", i[-1]])
            return [
                f"{kind} all = 0;",
                f"for (int k = 0; k < {a.shape[-1]}; k++) all += {left} * {right};",
                f"{self.element(y, i)} = all;",
            ]

        self.lines.append("  {")
        self._over(y.shape, body)
        self.lines.append("  }")

    def _do_scatter(self, op: Call) -> None:
        index, given = op.inputs
        (y,) = op.changes
        fixed = View(y.buffer, y.shape, (*y.strides[:-1], 0), y.offset)
        self.used.add("at")

        def body(i: list[str], _: str) -> list[str]:
            place = f"at({self.element(index, i)}, {y.shape[-1]}) * {y.strides[-1]}"
            sign = "+=" if op.options["add"] else "="
            return [f"{self.element(fixed, i, [place])} {sign} {self.element(given, i)};"]

        self._over(index.shape, body)


def _least(op: Call) -> str:
    return {"int64_t": "INT64_MIN", "int32_t": "INT32_MIN", "uint8_t": "0"}.get(TYPES[op.outputs[0].dtype], "-INFINITY")


def _most(op: Call) -> str:
    return {"int64_t": "INT64_MAX", "int32_t": "INT32_MAX", "uint8_t": "255"}.get(
        TYPES[op.outputs[0].dtype], "INFINITY"
    )
