"""A program's step as JavaScript: plain loops, and a function of `kernels.js` for each named operation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from inn.export.passes import merged
from inn.export.program import Buffer, Call, Loop, Map, Operand, Program, Take, View
from inn.export.web.functions import ARRAYS, FUNCTIONS, KEYS, REDUCED
from inn.system.errors import InputError


class Script:
    """Prints the operations of a program, one after the other.

    >>> symbol, logits = Buffer("symbol", "input", (1,), "int64"), Buffer("logits", "output", (2,), "float32")
    >>> half = Map("copy", (0.5,), View(logits, (2,), (1,)), "float32", "head")
    >>> print(Script(Program(symbol, logits, [], {}, [Loop((2,), (half,), frozenset())])).body())
      // head
      for (let i0 = 0; i0 < 2; i0++) {
        logits[i0] = 0.5;
      }
    """

    def __init__(self, program: Program):
        self.program, self.keys = program, keys_of(program)
        self.lines: list[str] = []
        self._part = ""

    def body(self) -> str:
        """The statements of one step."""
        for op in self.program.ops:
            if op.part != self._part:
                self._part = op.part
                self.lines.append(f"  // {op.part}")
            self._loop(op) if isinstance(op, Loop) else self._call(op)  # type: ignore[arg-type]
        return "\n".join(self.lines)

    def array(self, buffer: Buffer) -> str:
        """The kind of array that holds a buffer."""
        return KEYS if buffer in self.keys else ARRAYS[buffer.dtype]

    # Places.

    def place(self, view: View) -> str:
        """An array and the place where a view begins, as arguments."""
        return f"{view.buffer.name}, {view.offset}"

    def element(self, view: View, indices: Sequence[str], more: Sequence[str] = ()) -> str:
        """One number of a view."""
        if view.buffer is self.program.symbol:
            return "symbol"
        terms = [str(view.offset)] if view.offset else []
        terms += [i if step == 1 else f"{i} * {step}" for i, step in zip(indices, view.strides) if step and i != "0"]
        return f"{view.buffer.name}[{' + '.join([*terms, *more]) or '0'}]"

    # Loops.

    def _loop(self, loop: Loop) -> None:
        maps, shape = merged(loop)
        names: dict[Buffer, str] = {}

        def body(indices: list[str]) -> list[str]:
            lines = []
            for one in maps:
                value = self._function(one, [self._operand(i, indices, names) for i in one.inputs])
                buffer = one.output.buffer
                if buffer in loop.inner:
                    names[buffer] = f"v{len(names)}"
                    rounded = f"Math.fround({value})" if one.output.dtype == "float32" else value
                    lines.append(f"const {names[buffer]} = {rounded};")
                else:
                    lines.append(f"{self.element(one.output, indices)} = {value};")
            return lines

        self._over(shape, body)

    def _over(self, shape: Sequence[int], body: Callable[[list[str]], list[str]]) -> None:
        indices = [f"i{axis}" if size > 1 else "0" for axis, size in enumerate(shape)]
        indent = "  "
        for index, size in zip(indices, shape):
            if size > 1:
                self.lines.append(f"{indent}for (let {index} = 0; {index} < {size}; {index}++) {{")
                indent += "  "
        if len(indent) == 2:  # names of its own
            self.lines.append("  {")
            indent += "  "
        self.lines += [indent + line for line in body(indices)]
        while len(indent) > 2:
            indent = indent[:-2]
            self.lines.append(f"{indent}}}")

    def _operand(self, one: Operand, indices: Sequence[str], names: dict[Buffer, str]) -> str:
        if isinstance(one, bool | int | float):
            return number(one)
        if isinstance(one, View):
            return names.get(one.buffer) or self.element(one, indices)
        assert isinstance(one, Take)
        more = []
        for view, step, size in one.picks:
            place = f"at({names.get(view.buffer) or self.element(view, indices)}, {size})"
            more.append(place if step == 1 else f"{place} * {step}")
        return self.element(one.view, indices, more)

    def _function(self, one: Map, x: Sequence[str]) -> str:
        out = one.output.dtype
        if one.fn == "copy":
            source = one.inputs[0]
            given = type(source).__name__ if isinstance(source, bool | int | float) else source.dtype
            if out == "bool" and given != "bool":
                return f"{x[0]} !== 0 ? 1 : 0"
            whole = out in ("int64", "int32", "uint8") and given in ("float32", "float64", "float")
            return f"Math.trunc({x[0]})" if whole else x[0]
        if one.fn == "bitwise_not":
            return f"{x[0]} ? 0 : 1" if one.dtype == "bool" else f"~{x[0]}"
        if one.fn not in FUNCTIONS:
            raise InputError(
                f"{one.part} of this model takes the function '{one.fn}', which JavaScript has no form of here"
            )
        text = FUNCTIONS[one.fn].format(*x)
        return f"{text} ? 1 : 0" if out == "bool" and one.fn != "where" else text

    # Named operations.

    def _call(self, op: Call) -> None:
        known = self._reduce if op.name in REDUCED else getattr(self, f"_do_{op.name}", None)
        if known is None:
            raise InputError(
                f"{op.part} of this model takes the operation '{op.name}', which JavaScript has no form of here"
            )
        known(op)

    def write(self, name: str, *given: View | int | float | str | tuple[View, int] | None) -> None:
        """A call of a function of `kernels.js`; a view stands for its array and place, a pair for its step too."""
        texts = []
        for one in given:
            if isinstance(one, tuple):
                texts.append(f"{self.place(one[0])}, {one[1]}")
            else:
                texts.append(self.place(one) if isinstance(one, View) else "null" if one is None else str(one))
        self.lines.append(f"  {name}({', '.join(texts)});")

    def _stepped(self, op: Call) -> list[tuple[View, int]]:
        return [(view, view.strides[0]) for view in op.inputs if view is not None]

    def _do_linear(self, op: Call) -> None:
        x, weight, bias = op.inputs
        out = weight.shape[1]
        step = out * weight.shape[2] if weight.shape[0] > 1 else 0
        given = "null, 0, 0" if bias is None else f"{self.place(bias)}, {bias.strides[0]}"
        self.write(
            "linear", op.outputs[0], (x, x.strides[0]), weight.buffer.name, step, given, x.shape[0], out, x.shape[1]
        )

    def _do_norm(self, op: Call) -> None:
        self.write("norm", op.outputs[0], *self._stepped(op), *op.outputs[0].shape, op.options["epsilon"])

    def _do_conv(self, op: Call) -> None:
        taps = op.inputs[1].shape[1]
        self.write("conv", op.outputs[0], *self._stepped(op), op.changes[0], *op.outputs[0].shape, taps)

    def _do_scan(self, op: Call) -> None:
        states, wide = op.changes[0].shape[-2:]
        self.write("scan", op.outputs[0], *self._stepped(op), op.changes[0], *op.outputs[0].shape, wide, states)

    def _do_recall(self, op: Call) -> None:
        table, recent = op.changes
        orders = json.dumps(list(op.options["orders"]))
        self.write("recall", op.outputs[0], "symbol", table, recent, orders, table.shape[-1], recent.shape[-1])

    def _do_keys(self, op: Call) -> None:
        _, recent, letters = op.inputs
        specs = list(op.options["specs"])
        rows = json.dumps([specs[i : i + 3] for i in range(0, len(specs), 3)])
        known = None if letters is None else letters.buffer.name
        self.write("keys", *op.outputs, "symbol", recent, known, rows, recent.shape[-1])

    def _do_counts(self, op: Call) -> None:
        _, before, after = op.inputs
        (table,) = op.changes
        narrow = "true" if op.options["narrow"] else "false"
        self.write("counts", *op.outputs, "symbol", before, after, table, *table.shape[-3:], narrow)

    def _do_expected(self, op: Call) -> None:
        self._followed("expected", op)

    def _do_votes(self, op: Call) -> None:
        self._followed("votes", op)

    def _followed(self, name: str, op: Call) -> None:
        contexts, room = op.inputs[0].shape[-2:]
        self.write(name, op.outputs[0], *op.inputs, contexts, room, op.outputs[0].shape[-1])

    def _do_softmax(self, op: Call) -> None:
        self._rows(op, lambda x, y: f"softmax({y}, {x}, {op.inputs[0].shape[-1]});")

    def _do_log_softmax(self, op: Call) -> None:
        self._rows(op, lambda x, y: f"softmax({y}, {x}, {op.inputs[0].shape[-1]}, true);")

    def _do_sort(self, op: Call) -> None:
        size = op.inputs[0].shape[-1]
        count = op.outputs[0].shape[-1]
        down = "true" if op.options["descending"] else "false"
        self._rows(op, lambda x, y: f"sort({y}, {x}, {size}, {count}, {down});")

    def _rows(self, op: Call, text: Callable[[str, str], str]) -> None:
        """A function of the numbers along the last axis, row by row."""
        (x,) = op.inputs

        def at(view: View, indices: list[str]) -> str:
            terms = [f"{i} * {step}" for i, step in zip(indices, view.strides[:-1]) if step and i != "0"]
            return f"{view.buffer.name}, {' + '.join([str(view.offset), *terms])}, {view.strides[-1]}"

        self._over(x.shape[:-1], lambda i: [text(at(x, i), ", ".join(at(y, i) for y in op.outputs))])

    def _reduce(self, op: Call) -> None:
        (x,), (y,) = op.inputs, op.outputs
        start, step, end = REDUCED[op.name]
        kept = len(x.shape) - op.options["axes"]
        count = math.prod(x.shape[kept:])

        def body(indices: list[str]) -> list[str]:
            inner = [f"k{axis}" if size > 1 else "0" for axis, size in enumerate(x.shape[kept:])]
            loops = [f"for (let {k} = 0; {k} < {size}; {k}++) " for k, size in zip(inner, x.shape[kept:]) if size > 1]
            add = step.format(self.element(x, [*indices, *inner]))
            return [
                f"let all = {start};",
                f"{''.join(loops)}{add};",
                f"{self.element(y, indices)} = {end.format('', count)};",
            ]

        self._over(x.shape[:kept], body)

    def _do_cumsum(self, op: Call) -> None:
        (x,), (y,) = op.inputs, op.outputs
        last = f"for (let k = 0; k < {x.shape[-1]}; k++) "
        self._over(
            x.shape[:-1],
            lambda i: ["let all = 0;", f"{last}{self.element(y, [*i, 'k'])} = all += {self.element(x, [*i, 'k'])};"],
        )

    def _do_matmul(self, op: Call) -> None:
        (a, b), (y,) = op.inputs, op.outputs

        def body(i: list[str]) -> list[str]:
            left, right = self.element(a, [*i[:-1], "k"]), self.element(b, [*i[:-2], "k", i[-1]])
            add = f"for (let k = 0; k < {a.shape[-1]}; k++) all += {left} * {right};"
            return ["let all = 0;", add, f"{self.element(y, i)} = all;"]

        self._over(y.shape, body)

    def _do_scatter(self, op: Call) -> None:
        index, given = op.inputs
        (y,) = op.changes
        fixed = View(y.buffer, y.shape, (*y.strides[:-1], 0), y.offset)

        def body(i: list[str]) -> list[str]:
            place = f"at({self.element(index, i)}, {y.shape[-1]}) * {y.strides[-1]}"
            sign = "+=" if op.options["add"] else "="
            return [f"{self.element(fixed, i, [place])} {sign} {self.element(given, i)};"]

        self._over(index.shape, body)


def keys_of(program: Program) -> frozenset[Buffer]:
    """The buffers that hold keys of contexts, which take all 64 bits; they are copied and looked up, no more."""
    found = {view.buffer for op in program.ops if isinstance(op, Call) and op.name == "keys" for view in op.outputs[:2]}
    for op in program.ops:
        for one in op.maps if isinstance(op, Loop) else ():
            source = one.inputs[0]
            if one.fn == "copy" and isinstance(source, View) and source.buffer in found:
                found.add(one.output.buffer)
    return frozenset(found)


def number(value: bool | int | float) -> str:
    """A number as JavaScript writes it.

    >>> number(True), number(2), number(-0.5), number(float("-inf"))
    ('1', '2', '(-0.5)', '(-Infinity)')
    """
    if isinstance(value, bool | int):
        text = str(int(value))
    else:
        text = "NaN" if math.isnan(value) else repr(value).replace("inf", "Infinity")
    return f"({text})" if text.startswith("-") else text
