"""The files of a model in C: its header, its code and its weights."""

from __future__ import annotations

import re
import textwrap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from inn.export.c.calls import Printer
from inn.export.c.printer import TYPES, number
from inn.export.c.saved import bytes_of, in_order
from inn.export.program import Buffer, Program
from inn.runs.eight import quantised
from inn.system.errors import InputError

MAGIC = 0x4D4E4E49
"""`INNM`, as a whole number of 32 bits whose first byte is the lowest."""
INPUTS, OUTPUTS = 16, 64
"""A matrix with fewer is left in float32 where others have 8 bits: it would be slower, and save next to nothing."""
PLACES = ("int64_t", "int32_t")
"""Whole numbers are places in arrays: they stand in the code, since a file of weights may say anything."""


@dataclass(frozen=True)
class Source:
    """A model in C.

    Attributes:
        header, code: the text of `model.h` and `model.c`.
        weights: the bytes of `model.bin`.
        fingerprint: what weights and saved states are known by.
    """

    header: str
    code: str
    weights: bytes
    fingerprint: int


def source_of(program: Program, title: str, texts: Sequence[bytes] | None, int8: bool = False) -> Source:
    """A program in C.

    Args:
        title: what the files say that the model is.
        texts: what each symbol is in a text; None where symbols are only numbers.
        int8: whether linear maps have weights of 8 bits, with a scale for each output.
    """
    large = [b for b in program.weights if b.linear and b.shape[1] >= OUTPUTS and b.shape[2] >= INPUTS]
    few = frozenset(large if int8 else ())
    printer = Printer(program, few)
    body = printer.body()
    arrays, places = _arrays(program, few)
    payload, opened, fields, aliases = b"", [], [], []
    for kind, name in (("double", "w_double"), ("float", "w"), ("uint8_t", "w_uint8_t"), ("int8_t", "w8")):
        if kind not in arrays:
            continue
        payload += bytes(-len(payload) % 8)
        opened.append(f"  m->{name} = (const {kind} *)(const void *)(bytes + {len(payload)});")
        fields.append(f"  const {kind} *{name};")
        aliases.append(f"  const {kind} *const {name} = m->{name};")
        payload += np.concatenate(arrays[kind]).tobytes()
    state_fields, begun, words, checks = _states(program)
    work = [f"  {kind} work_{kind}[{size}];" for kind, size in printer.sizes.items()]
    values = {
        "title": title.replace("*/", "* /"),
        "bits": "have 8 bits" if int8 else "too",
        "vocab": str(program.logits.shape[-1]),
        "places": "\n".join([f"enum {{ {name} = {place} }};" for name, place in places] + _placed(arrays)),
        "arrays": "\n".join(fields) or "  int nothing;",
        "states": "\n".join(state_fields),
        "work": "\n".join(work),
        "kernels": kernels(printer.used) + "\n" + checks,
        "aliases": "\n".join(aliases),
        "body": body,
        "weight_bytes": str(len(payload)),
        "opened": "\n".join(opened),
        "begun": "\n".join(begun),
        "first_words": "\n".join(words),
        "texts": _texts(texts),
    }
    fingerprint = zlib.crc32(_filled("model.c.txt", {**values, "title": ""}).encode())
    code = _filled("model.c.txt", {**values, "fingerprint": f"0x{fingerprint:08X}u"})
    head = np.array([MAGIC, fingerprint, len(payload) & 0xFFFFFFFF, zlib.adler32(payload)], dtype="<u4")
    return Source(_filled("model.h.txt", values), code, head.tobytes() + payload, fingerprint)


def single(source: Source) -> str:
    """A model as one header: its code and its weights stand where `MODEL_IMPLEMENTATION` is defined."""
    padded = source.weights + bytes(-len(source.weights) % 8)
    words = [f"0x{word:X}u" for word in np.frombuffer(padded, dtype="<u8").tolist()]
    rows = ",\n".join(", ".join(words[i : i + 6]) for i in range(0, len(words), 6))
    start, end = source.header.rsplit("#endif", 1)
    start = start.replace("Weights from a file.", "Weights from a file, or those below where `path` is NULL.")
    start = start.replace("enum { MODEL_SYMBOLS", "#define MODEL_EMBEDDED\nenum { MODEL_SYMBOLS")
    code = source.code.replace(
        '#include "model.h"\n', f"#include <stdint.h>\nstatic const uint64_t model_words[] = {{\n{rows}}};\n"
    )
    return f"{start}#endif{end}\n#ifdef MODEL_IMPLEMENTATION\n#undef MODEL_IMPLEMENTATION\n{code}#endif\n"


def _arrays(program: Program, few: frozenset[Buffer]) -> tuple[dict[str, list[np.ndarray]], list[tuple[str, int]]]:
    """All weights by type, one behind the other, and where each begins."""
    arrays: dict[str, list[np.ndarray]] = {}
    places: list[tuple[str, int]] = []

    def put(name: str, kind: str, values: np.ndarray) -> None:
        values = values.reshape(-1)
        at = sum(map(len, arrays.setdefault(kind, [])))
        places.append((name, at))
        arrays[kind].append(np.concatenate((values, np.zeros(-len(values) % 16, dtype=values.dtype))))

    for buffer in program.weights:
        assert buffer.data is not None
        data, name = buffer.data, buffer.name.upper()
        if not buffer.linear:
            kind = TYPES[buffer.dtype]
            put(name, kind, data.numpy().astype(np.uint8) if buffer.dtype == "bool" else data.numpy())
        elif buffer in few:
            rows, scale = quantised(data)
            put(name, "int8_t", rows.transpose(1, 2).contiguous().numpy())
            put(name + "_SCALE", "float", scale.numpy())
        else:
            put(name, "float", data.transpose(1, 2).contiguous().numpy())
    return arrays, places


def _placed(arrays: dict[str, list[np.ndarray]]) -> list[str]:
    """The arrays of places, as they stand in the code."""
    lines = []
    for kind in PLACES:
        if kind in arrays:
            values = ", ".join(number(value, kind[:-2]) for value in np.concatenate(arrays[kind]).tolist())
            lines += [
                f"static const {kind} w_{kind}[] = {{",
                textwrap.fill(values, 110, initial_indent="  ", subsequent_indent="  "),
                "};",
            ]
    return lines


def _states(program: Program) -> tuple[list[str], list[str], list[str], str]:
    """What is carried: fields, how they begin, their first words, and what is defined for them."""
    fields, begun, words, defined, checks = [], [], [], [], []
    for buffer in in_order(program):
        kind, name = TYPES[buffer.dtype], buffer.name
        if bytes_of(buffer) < 4:
            raise InputError(f"the state '{name}' is of {buffer.dtype}, which an export to C does not carry")
        fields.append(f"  {kind} {name}[{max(buffer.size, 1)}]; /* {' x '.join(map(str, buffer.shape))} */")
        assert buffer.data is not None
        flat = buffer.data.reshape(-1).numpy()
        inside = f"  if (4 * word - offsetof(model_state, {name}) < sizeof(((const model_state *)0)->{name})) return "
        if len(flat) and (flat == flat[0]).all():
            if flat[0] != 0:
                value = number(flat[0].item(), buffer.dtype)
                begun.append(f"  for (size_t i = 0; i < {len(flat)}; i++) s->{name}[i] = {value};")
                low, *high = (f"0x{int(bits):08X}u" for bits in flat[:1].view(np.uint32))
                words.append(inside + (f"word % 2 ? {high[0]} : {low};" if high and high[0] != low else f"{low};"))
        elif len(flat):
            listed = ", ".join(number(v, buffer.dtype) for v in flat.tolist())
            defined.append(f"static const {kind} first_{name}[] = {{{listed}}};")
            begun.append(f"  memcpy(s->{name}, first_{name}, sizeof first_{name});")
            words.append(inside + f"word_of(first_{name}, word - offsetof(model_state, {name}) / 4);")
        checks += _sound(buffer, program.logits.shape[-1])
    lines = ["/* Whether the symbols in what was restored are symbols: they are places in tables. */"]
    lines += ["static int state_is_sound(const model_state *s) {", "  (void)s;", *checks, "  return 1;", "}"]
    return fields, begun, words, "\n".join([*defined, *lines])


def _sound(buffer: Buffer, vocab: int) -> list[str]:
    """What is true of tables that a model has filled, and not of damaged ones."""
    if buffer.name != "recall_table" or len(buffer.shape) != 5 or vocab == 256:
        return []
    narrow = vocab < 256
    test = f"(cell >> 8 & 255u) >= {vocab}u || cell >> 24 >= {vocab}u" if narrow else f"cell >> 8 >= {vocab}u"
    return [
        f"  for (size_t i = 0; i < {buffer.size}; i++) {{",
        f"    const uint32_t cell = (uint32_t)s->{buffer.name}[i];",
        f"    if (i % {buffer.shape[-1]} && ({test})) return 0;",
        "  }",
    ]


def _texts(texts: Sequence[bytes] | None) -> str:
    if texts is None:
        return "  (void)symbol;\n  *bytes = 0;\n  return NULL;"
    if [*texts] == [bytes([i]) for i in range(256)]:
        return "  static char text[256];\n  text[symbol] = (char)symbol;\n  *bytes = 1;\n  return text + symbol;"
    rows = ", ".join('"' + "".join(f"\\{b:03o}" for b in t) + '"' for t in texts)
    sizes = ", ".join(str(len(t)) for t in texts)
    lines = re.sub(r"(.{1,100})(?: |$)", r"      \1\n", rows).rstrip()
    return (
        f"  static const char *const texts[] = {{\n{lines}}};\n"
        f"  static const unsigned char sizes[] = {{{sizes}}};\n"
        "  *bytes = sizes[symbol];\n  return texts[symbol];"
    )


def kernels(used: set[str]) -> str:
    """The sections of `kernels.c` that are called, with those that they call, in the file's order."""
    text = files("inn.export.c").joinpath("kernels.c").read_text(encoding="utf-8")
    sections: dict[str, tuple[list[str], str]] = {}
    for name, needs, body in re.findall(r"/\*== (\w+)(?:: ([\w ]+))? ==\*/\n(.*?)(?=/\*== )", text, re.DOTALL):
        sections[name] = needs.split(), body.strip()
    wanted: set[str] = set()
    todo = list(used)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += sections[name][0]
    return "\n\n".join(body for name, (_, body) in sections.items() if name in wanted)


def template(name: str) -> str:
    """A file that is beside this one."""
    return files("inn.export.c").joinpath(name).read_text(encoding="utf-8")


def _filled(name: str, values: dict[str, Any]) -> str:
    return re.sub(r"@(\w+)@", lambda m: values.get(m[1], m[0]), template(name))
