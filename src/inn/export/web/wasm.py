"""A program's step as WebAssembly, compiled by clang from the C that the export `c` prints."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from inn.export.c.calls import Printer
from inn.export.c.printer import TYPES
from inn.export.c.saved import bytes_of, in_order
from inn.export.c.source import kernels
from inn.export.program import Buffer, Program
from inn.system.errors import InputError

FLAGS = (
    "--target=wasm32 -O3 -msimd128 -ffreestanding -fno-builtin -nostdlib -Wl,--no-entry -Wl,--allow-undefined".split()
)


@dataclass(frozen=True)
class Compiled:
    """A step in WebAssembly.

    Attributes:
        code: the module. It exports `memory`, `step(symbol)`, and for each array `at_NAME()`, where it begins.
        places: for each weight, the array that holds it and its place there, in numbers.
        state_bytes: how many bytes are carried, from where the first state begins.
    """

    code: bytes
    places: dict[Buffer, tuple[str, int]]
    states: list[Buffer]
    state_bytes: int


def why_not() -> str | None:
    """Why nothing can be compiled to WebAssembly here; None where it can."""
    missing = [name for name in ("clang", "wasm-ld") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found (Debian: clang, lld)" if missing else None


def compiled(program: Program) -> Compiled:
    """Compile a step.

    Raises `InputError` where a compiler is missing, or takes the code for wrong.
    """
    if reason := why_not():
        raise InputError(f"no WebAssembly can be made here: {reason}")
    printer = Printer(program)
    body = printer.body()
    sizes: dict[str, int] = {}
    places: dict[Buffer, tuple[str, int]] = {}
    for buffer in program.weights:
        kind = TYPES[buffer.dtype]
        array = "w" if kind == "float" else f"w_{kind}"
        places[buffer] = array, sizes.get(array, 0)
        sizes[array] = sizes.get(array, 0) + -(-buffer.size // 16) * 16
    states = in_order(program)  # no gaps between them
    given = [*program.controls, program.logits, *program.told]
    arrays = {name: "float" if name == "w" else name.removeprefix("w_") for name in sizes}
    lines = [f"static {kind} {name}[{sizes[name]}];" for name, kind in arrays.items()]
    lines += [f"static {TYPES[b.dtype]} {b.name}[{b.size}];" for b in given]
    found = {**{name: name for name in arrays}, **{b.name: b.name for b in given}}
    found |= {b.name: f"s->{b.name}" for b in states}
    values = {
        "places": "\n".join(f"enum {{ {b.name.upper()} = {place} }};" for b, (_, place) in places.items()),
        "arrays": "\n".join(lines),
        "states": "\n".join(f"  {TYPES[b.dtype]} {b.name}[{max(b.size, 1)}];" for b in states),
        "work": "\n".join(f"  {kind} work_{kind}[{size}];" for kind, size in printer.sizes.items()),
        "kernels": kernels(printer.used),
        "body": body,
    }
    text = (files("inn.export.web") / "wasm.c.txt").read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    text += "".join(f"EXPORT(at_{name}) void *at_{name}(void) {{ return {value}; }}\n" for name, value in found.items())
    return Compiled(_compile(text), places, states, sum(max(b.size, 1) * bytes_of(b) for b in states))


def _compile(text: str) -> bytes:
    with TemporaryDirectory() as folder:
        source, out = Path(folder) / "step.c", Path(folder) / "step.wasm"
        source.write_text(text, encoding="utf-8")
        done = subprocess.run(["clang", *FLAGS, "-o", str(out), str(source)], capture_output=True, text=True)
        if done.returncode:
            raise InputError(
                f"clang cannot compile the step: {done.stderr.strip()[:400]}; export it with --web.wasm false"
            )
        return out.read_bytes()
