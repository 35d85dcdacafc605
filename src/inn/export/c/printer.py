"""A program's step as the body of a C function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from inn.export.passes import laid_out, merged
from inn.export.program import Buffer, Call, Loop, Map, Operand, Program, Take, View
from inn.system.errors import InputError

TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "int64_t",
    "int32": "int32_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
}
FAST = frozenset(("exp", "sigmoid", "silu", "tanh"))
"""Functions that are in `kernels.c`; of float64 the C library's."""
INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<", "le": "<=",
    "gt": ">", "ge": ">=", "logical_and": "&&", "logical_or": "||", "bitwise_and": "&", "bitwise_or": "|",
    "bitwise_xor": "^",
}  # fmt: skip


class Loops:
    """Prints the operations of a program, one after the other.

    Args:
        quantised: the linear maps that have 8 bits.

    Attributes:
        lines: what has been printed.
        used: the sections of `kernels.c` that it calls.
        places, sizes: where the arrays of a step are, and how much room they need.
    """

    def __init__(self, program: Program, quantised: frozenset[Buffer] = frozenset()):
        self.program, self.quantised = program, quantised
        self.places, self.sizes = laid_out(program, lambda b: TYPES[b.dtype])
        self.lines: list[str] = []
        self.used: set[str] = set()
        self._declared: set[Buffer] = set()
        self._part = ""

    def body(self) -> str:
        """The statements of one step."""
        for op in self.program.ops:
            if op.part != self._part:
                self._part = op.part
                self.lines += ["", f"  /* {op.part} */"]
            for view in op.writes():
                self._declare(view.buffer)
            self._loop(op) if isinstance(op, Loop) else self._call(op)  # type: ignore[arg-type]
        return "\n".join(self.lines)

    def _declare(self, buffer: Buffer) -> None:
        if buffer.kind == "work" and buffer not in self._declared:
            self._declared.add(buffer)
            kind = TYPES[buffer.dtype]
            self.lines.append(f"  {kind} *const {buffer.name} = s->work_{kind} + {self.places[buffer]};")

    # Places.

    def base(self, buffer: Buffer) -> str:
        """Where an array begins."""
        if buffer.kind == "weight":
            kind = TYPES[buffer.dtype]
            array = "w8" if buffer in self.quantised else "w" if kind == "float" else f"w_{kind}"
            return f"({array} + {buffer.name.upper()})"
        if buffer.kind == "state":
            return f"s->{buffer.name}"
        return "&symbol" if buffer is self.program.symbol else buffer.name

    def pointer(self, view: View) -> str:
        """Where a view begins."""
        base = self.base(view.buffer)
        return f"{base} + {view.offset}" if view.offset else base

    def element(self, view: View, indices: Sequence[str], more: Sequence[str] = ()) -> str:
        """One number of a view."""
        terms = [str(view.offset)] if view.offset else []
        terms += [i if step == 1 else f"{i} * {step}" for i, step in zip(indices, view.strides) if step]
        terms += more
        base = self.base(view.buffer)
        if base == "&symbol":
            return "symbol"
        return f"{base}[{' + '.join(terms) or '0'}]"

    # Loops.

    def _loop(self, loop: Loop) -> None:
        maps, shape = merged(loop)
        indices = [f"i{axis}" for axis in range(len(shape))]
        copied = self._block_copy(maps, shape)
        if copied:
            self.lines.append(f"  {copied}")
            return
        indent = "  "
        for index, size in zip(indices, shape):
            self.lines.append(f"{indent}for (int {index} = 0; {index} < {size}; {index}++) {{")
            indent += "  "
        if not shape:  # names of its own
            self.lines.append("  {")
        names: dict[Buffer, tuple[str, View]] = {}
        for one in maps:
            kind = TYPES[one.output.dtype]
            value = self._function(one, [self._operand(i, one, indices, names) for i in one.inputs])
            buffer = one.output.buffer
            if buffer in loop.inner:
                names[buffer] = (f"v{len(names)}", one.output)
                self.lines.append(f"{indent}const {kind} {names[buffer][0]} = {value};")
            else:
                self.lines.append(f"{indent}{self.element(one.output, indices)} = {value};")
        for _ in shape or "{":
            indent = indent[:-2] or "  "
            self.lines.append(f"{indent}}}")

    def _block_copy(self, maps: Sequence[Map], shape: Sequence[int]) -> str:
        one = maps[0]
        if len(maps) > 1 or one.fn != "copy" or not isinstance(one.inputs[0], View) or len(shape) != 1:
            return ""
        source = one.inputs[0]
        if source.strides != (1,) or one.output.strides != (1,) or source.dtype != one.output.dtype:
            return ""
        size = f"{shape[0]} * sizeof({TYPES[source.dtype]})"
        return f"memcpy({self.pointer(one.output)}, {self.pointer(source)}, {size});"

    def _operand(self, one: Operand, of: Map, indices: Sequence[str], names: dict[Buffer, tuple[str, View]]) -> str:
        if isinstance(one, (bool, int, float)):
            return number(one, of.dtype if of.fn != "where" else of.output.dtype)
        if isinstance(one, View) and one.buffer in names:
            text = names[one.buffer][0]
        elif isinstance(one, View):
            text = self.element(one, indices)
        else:
            more = []
            for view, step, size in one.picks:
                place = names[view.buffer][0] if view.buffer in names else self.element(view, indices)
                if view.buffer is not self.program.symbol:
                    self.used.add("at")
                    place = f"at({place}, {size})"
                more.append(place if step == 1 else f"{place} * {step}")
            text = self.element(one.view, indices, more)
        if of.fn not in ("copy", "where") and TYPES[one.dtype] != TYPES[of.dtype] and of.dtype != "bool":
            text = f"({TYPES[of.dtype]}){text}"
        return text

    def _function(self, one: Map, x: Sequence[str]) -> str:
        fn, kind = one.fn, one.dtype
        real = kind in ("float32", "float64")
        out = TYPES[one.output.dtype]
        if fn == "copy":
            source = one.inputs[0]
            if one.output.dtype == "bool" and getattr(source, "dtype", "bool") != "bool":
                return f"{x[0]} != 0"
            same = isinstance(source, (View, Take)) and source.dtype == one.output.dtype
            return x[0] if same or isinstance(source, (int, float)) else f"({out}){x[0]}"
        if fn in INFIX:
            text = f"{x[0]} {INFIX[fn]} {x[1]}"
            wider = out == "uint8_t" and fn not in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or")
            return f"({out})({text})" if wider else text  # C computes in int
        f = "f" if kind == "float32" else ""
        one_ = "1.0f" if kind == "float32" else "1.0"
        if fn in FAST and kind == "float32":
            self.used.add(fn)
            return f"fast_{fn}({x[0]})"
        texts: dict[str, Callable[[], str]] = {
            "neg": lambda: f"-{x[0]}",
            "where": lambda: f"{x[0]} ? {x[1]} : {x[2]}",
            "maximum": lambda: f"{x[0]} < {x[1]} ? {x[1]} : {x[0]}",
            "minimum": lambda: f"{x[0]} > {x[1]} ? {x[1]} : {x[0]}",
            "relu": lambda: f"{x[0]} < 0 ? 0 : {x[0]}",
            "reciprocal": lambda: f"{one_} / {x[0]}",
            "rsqrt": lambda: f"{one_} / sqrt{f}({x[0]})",
            "sigmoid": lambda: f"{one_} / ({one_} + exp{f}(-{x[0]}))",
            "silu": lambda: f"{x[0]} / ({one_} + exp{f}(-{x[0]}))",
            "abs": lambda: f"fabs{f}({x[0]})" if real else f"{x[0]} < 0 ? -{x[0]} : {x[0]}",
            "sign": lambda: f"({out})(({x[0]} > 0) - ({x[0]} < 0))",
            "logical_not": lambda: f"!{x[0]}",
            "bitwise_not": lambda: f"!{x[0]}" if kind == "bool" else f"({out})~{x[0]}",
            "isnan": lambda: f"isnan({x[0]}) != 0",
            "isinf": lambda: f"isinf({x[0]}) != 0",
            "round": lambda: f"rint{f}({x[0]})",
            "gelu": lambda: f"0.5{f} * {x[0]} * ({one_} + erf{f}({x[0]} * {number(math.sqrt(0.5), kind)}))",
            "floordiv": lambda: (
                f"floor{f}({x[0]} / {x[1]})"
                if real
                else f"{x[0]} / {x[1]} - ({x[0]} % {x[1]} != 0 && ({x[0]} < 0) != ({x[1]} < 0))"
            ),
            "truncdiv": lambda: f"trunc{f}({x[0]} / {x[1]})" if real else f"{x[0]} / {x[1]}",
            "remainder": lambda: (
                f"{x[0]} - {x[1]} * floor{f}({x[0]} / {x[1]})" if real else f"({x[0]} % {x[1]} + {x[1]}) % {x[1]}"
            ),
        }
        if fn in texts:
            text = texts[fn]()
            return f"({out})({text})" if out == "uint8_t" else text
        if real and fn in ("pow", "atan2"):
            return f"{fn}{f}({x[0]}, {x[1]})"
        if real and fn in "exp exp2 expm1 log log2 log1p sqrt sin cos tan atan tanh floor ceil erf".split():
            return f"{fn}{f}({x[0]})"
        raise InputError(f"{one.part} of this model takes the function '{fn}' of {kind}, which C has no form of here")

    # Named operations.

    def _call(self, op: Call) -> None:
        known = getattr(self, f"_do_{op.name}", None)
        if known is None:
            raise InputError(f"{op.part} of this model takes the operation '{op.name}', which C has no form of here")
        known(op)

    def write(self, section: str, text: str) -> None:
        """A statement that calls a function of `kernels.c`."""
        self.used.add(section)
        self.lines.append(f"  {text}")


def number(value: bool | int | float, dtype: str) -> str:
    """A number as C writes it, in a type.

    >>> number(0.5, "float32"), number(2, "float32"), number(2, "int64"), number(float("-inf"), "float32")
    ('0.5f', '2.0f', '2', '-INFINITY')
    """
    if dtype in ("float32", "float64"):
        value = float(value)
        if math.isinf(value):
            return "INFINITY" if value > 0 else "-INFINITY"
        if math.isnan(value):
            return "NAN"
        if dtype == "float32":
            import numpy as np

            text = repr(float(f"{np.float32(value):.9g}"))
        else:
            text = repr(value)
        text = text if "." in text or "e" in text else text + ".0"
        return text + ("f" if dtype == "float32" else "")
    return str(int(value))
