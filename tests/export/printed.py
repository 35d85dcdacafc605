"""Plain programs (`inn.export.exact.plain`) in C and in JavaScript, to see that they come to the same bits there."""

from __future__ import annotations

import ctypes
import json
import subprocess
from math import prod

import numpy as np

from inn.export.c.calls import Printer
from inn.export.c.printer import TYPES
from inn.export.program import Buffer, Call, Map, Program
from inn.export.web.functions import ARRAYS
from inn.export.web.script import Script

KERNELS = """
#include <math.h>
#include <stdint.h>
#include <string.h>
static double two(double n) {
  const uint64_t bits = (uint64_t)((int64_t)n + 1023) << 52;
  double y;
  memcpy(&y, &bits, 8);
  return y;
}
static double exponent(double x) {
  int64_t bits;
  memcpy(&bits, &x, 8);
  return (double)((bits >> 52) - 1023);
}
static int64_t at(int64_t place, int64_t size) { return place < 0 ? place + size : place; }
"""


def halved(kind: str) -> str:
    """Statements that leave the sum of `t[0]`, ... `t[left - 1]` in `t[0]`, as `halves` takes it."""
    turn = f"for ({kind} i = 0; i < left >> 1; i++) t[i] += t[left - (left >> 1) + i]"
    return f"for (; left > 1; left -= left >> 1) {turn};"


class InC(Printer):
    def _function(self, one: Map, x) -> str:
        if one.fn in ("two", "exponent"):
            return f"{one.fn}({x[0]})"
        return super()._function(one, x)

    def _do_products(self, op: Call) -> None:
        (x, w), (y,) = op.inputs, op.outputs
        (rows, inputs), outputs = x.shape, w.shape[2]
        step = w.strides[0]
        self.lines += [
            f"  for (int n = 0; n < {rows}; n++)",
            f"    for (int o = 0; o < {outputs}; o++) {{",
            "      double all = 0;",
            f"      for (int i = 0; i < {inputs}; i++)",
            f"        all += ({self.pointer(x)})[n * {x.strides[0]} + i * {x.strides[1]}]"
            f" * ({self.pointer(w)})[n * {step} + i * {outputs} + o];",
            f"      ({self.pointer(y)})[n * {y.strides[0]} + o * {y.strides[1]}] = all;",
            "    }",
        ]

    def _do_sum(self, op: Call) -> None:
        (x,), (y,) = op.inputs, op.outputs
        kept, kind = len(x.shape) - op.options["axes"], TYPES[y.dtype]
        sizes = x.shape[kept:]

        def body(indices, _):
            inner = [f"k{a}" for a in range(len(sizes))]
            loops = "".join(f"for (int {k} = 0; {k} < {size}; {k}++) " for k, size in zip(inner, sizes))
            return [
                f"{{ {kind} t[{prod(sizes)}]; int left = 0;",
                f"{loops}t[left++] = {self.element(x, [*indices, *inner])};",
                halved("int"),
                f"{self.element(y, indices)} = t[0]; }}",
            ]

        self._over(x.shape[:kept], body)


def numbers_of(b: Buffer) -> np.ndarray:
    assert b.data is not None
    return b.data.numpy().reshape(-1)


class Compiled:
    """A plain program as a function of this process, or the text of it."""

    def __init__(self, program: Program):
        self.program = program
        printer = InC(program)
        body = printer.body()
        self.arrays: dict[str, np.ndarray] = {}
        places, sizes = [], {}
        for b in program.weights:
            kind, data = TYPES[b.dtype], numbers_of(b)
            places.append(f"enum {{ {b.name.upper()} = {sizes.get(kind, 0)} }};")
            sizes[kind] = sizes.get(kind, 0) + len(data)
            before = self.arrays.get(kind, data[:0])
            self.arrays[kind] = np.concatenate((before, data))
        fields = [f"  {TYPES[b.dtype]} {b.name}[{b.size}];" for b in program.states]
        fields += [f"  {kind} work_{kind}[{size}];" for kind, size in printer.sizes.items()]
        self.kinds = [*self.arrays]
        given = [f"const {kind} *w_{kind}" for kind in self.kinds] + ["struct state *s, int64_t symbol"]
        given += [f"const {TYPES[b.dtype]} *{b.name}" for b in program.controls]
        given += [f"double *{b.name}" for b in (program.logits, *program.told)]
        self.text = "\n".join(
            [
                *(KERNELS, *places, "struct state {", *fields, "};", f"void step({', '.join(given)}) {{", body, "}"),
                "const unsigned long long state_size = sizeof(struct state);",
            ]
        )

    def load(self, folder, compiler):
        (folder / "step.c").write_text(self.text)
        made = [*compiler, "-std=c99", "-ffp-contract=off", "-shared", "-fPIC", "-o", "step.so", "step.c", "-lm"]
        subprocess.run(made, cwd=folder, check=True)
        self.c = ctypes.CDLL(str(folder / "step.so"))
        self.state = np.zeros(ctypes.c_ulonglong.in_dll(self.c, "state_size").value, np.uint8)
        at = 0
        for b in self.program.states:
            data = numbers_of(b).view(np.uint8)
            self.state[at : at + len(data)] = data
            at += len(data)
        return self

    def step(self, symbol: int, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = {b.name: np.zeros(b.shape) for b in (self.program.logits, *self.program.told)}
        controls = [np.ascontiguousarray(found[b.name], np.int64) for b in self.program.controls]
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*(self.arrays[k] for k in self.kinds), self.state)]
        self.c.step(
            *pointers, ctypes.c_int64(symbol), *(a.ctypes.data_as(ctypes.c_void_p) for a in (*controls, *out.values()))
        )
        return out


class InJavaScript(Script):
    def _function(self, one: Map, x) -> str:
        if one.fn in ("two", "exponent"):
            return f"{one.fn}({x[0]})"
        return super()._function(one, x)

    def _do_products(self, op: Call) -> None:
        (x, w), (y,) = op.inputs, op.outputs
        (rows, inputs), outputs = x.shape, w.shape[2]
        self.lines += [
            f"  for (let n = 0; n < {rows}; n++) for (let o = 0; o < {outputs}; o++) {{ let all = 0;",
            f"    for (let i = 0; i < {inputs}; i++) all += {self.element(x, ['n', 'i'])} * "
            f"{self.element(w, ['n', 'i', 'o'])};",
            f"    {self.element(y, ['n', 'o'])} = all; }}",
        ]

    def _reduce(self, op: Call) -> None:
        if op.name != "sum":
            super()._reduce(op)
            return
        (x,), (y,) = op.inputs, op.outputs
        kept = len(x.shape) - op.options["axes"]
        sizes = x.shape[kept:]

        def body(indices):
            inner = [f"k{a}" for a in range(len(sizes))]
            loops = "".join(f"for (let {k} = 0; {k} < {size}; {k}++) " for k, size in zip(inner, sizes))
            return [
                "const t = []; let left = 0;",
                f"{loops}t[left++] = {self.element(x, [*indices, *inner])};",
                halved("let"),
                f"{self.element(y, indices)} = t[0];",
            ]

        self._over(x.shape[:kept], body)


def script(program: Program, symbols: list[int], found: list[dict[str, list]]) -> str:
    """A script that prints the bits of the logits and the odds of each step, as text of base 16."""
    printer = InJavaScript(program)
    body = printer.body()
    lines = [
        "const words = new BigInt64Array(1), bits = new Float64Array(words.buffer);",
        "const two = (n) => { words[0] = BigInt(n + 1023) << 52n; return bits[0]; };",
        "const exponent = (x) => { bits[0] = x; return Number(words[0] >> 52n) - 1023; };",
        "const at = (place, size) => place < 0 ? place + size : place;",
    ]

    def array(b: Buffer, data) -> str:
        numbers = json.dumps([float(v) for v in data.numpy().reshape(-1)])
        return f"const {b.name} = new {ARRAYS[b.dtype]}({numbers});"

    lines += [array(b, b.data) for b in (*program.weights, *program.states)]
    for b in (*program.controls, *program.work, program.logits, *program.told):
        lines.append(f"const {b.name} = new {ARRAYS[b.dtype]}({b.size});")
    outputs = ", ".join(b.name for b in (program.logits, *program.told))
    lines += [
        f"function step(symbol) {{\n{body}\n}}",
        f"const $symbols = {json.dumps(symbols)}, $found = {json.dumps(found)};",
        "$symbols.forEach((symbol, i) => {",
        *(f"  {b.name}.set($found[i].{b.name});" for b in program.controls),
        f"  step(symbol);\n  for (const out of [{outputs}])",
        '    console.log([...new BigUint64Array(out.buffer)].map((w) => w.toString(16)).join(" "));',
        "});",
    ]
    return "\n".join(lines)
