"""A model as JavaScript and two packs of bytes: its weights, and what it carries at the beginning."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np

from inn.explorer.pack import packed
from inn.export.program import Program
from inn.export.web.script import Script
from inn.export.web.wasm import Compiled
from inn.runs.eight import FEW, quantised

_NUMPY = {"Float64Array": np.float64, "Float32Array": np.float32, "Int32Array": np.int32, "Uint8Array": np.uint8}


class Bytes:
    """Arrays one behind the other, each at a place that any numbers allow."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, values: np.ndarray) -> int:
        """Append an array; returns its place."""
        gap = -self.size % 8
        place = self.size + gap
        self.parts += [b"\0" * gap, np.ascontiguousarray(values).tobytes()]
        self.size = place + values.nbytes
        return place

    def packed(self) -> str:
        """All of them, deflated, as text: the first byte of every four, then all second ones, as alike are together."""
        whole = b"".join(self.parts)
        return packed(np.frombuffer(whole + b"\0" * (-len(whole) % 4), np.uint8).reshape(-1, 4).T)


def as_script(
    program: Program, int8: bool, facts: Mapping[str, Any], wasm: Compiled | None = None
) -> tuple[str, dict[str, str]]:
    """JavaScript that defines `built(given)`, and what it is given: `weights` and `state`, packed.

    Args:
        program: of a watched step.
        int8: whether linear maps are kept in 8 bits, a scale for each output; they are whole numbers on the page's way
            only, and are multiplied out when it opens.
        facts: what else the model tells of itself, plain data.
        wasm: the step in WebAssembly, which is run where the browser does.
    """
    script, weights, state = Script(program), Bytes(), Bytes()
    body = script.body()
    lines = []
    for buffer in program.weights:
        assert buffer.data is not None
        kind = script.array(buffer)
        if int8 and (buffer.linear or (buffer.name.endswith("_weight") and buffer.size >= FEW)):
            numbers, scales = (t.numpy() for t in quantised(buffer.data))
            places = weights.add(numbers), weights.add(scales)
            lines.append(
                f"  const {buffer.name} = restored(new Int8Array(weights, {places[0]}, {numbers.size}), "
                f"new Float32Array(weights, {places[1]}, {scales.size}));"
            )
        else:
            place = weights.add(buffer.data.numpy().astype(_NUMPY[kind]))
            lines.append(f"  const {buffer.name} = new {kind}(weights, {place}, {buffer.size});")
    for buffer in program.states:
        kind = script.array(buffer)
        assert buffer.data is not None
        place = state.add(buffer.data.numpy().astype(_NUMPY[kind]))
        lines.append(f"  const {buffer.name} = new {kind}(state, {place}, {buffer.size});")
    for buffer in (*program.controls, *program.work, program.logits, *program.told):
        lines.append(f"  const {buffer.name} = new {script.array(buffer)}({buffer.size});")
    told = dict.fromkeys(("activity", "routing", "gate"), "null") | {b.name: b.name for b in program.told}
    names = ["logits", *(b.name for b in program.controls), *(f"{name}: {value}" for name, value in told.items())]
    own = [f"{name}: {value}" for name, value in facts.items()]
    text = "\n".join(
        [
            (files("inn.export.web") / "kernels.js").read_text("utf-8"),
            (files("inn.export.web") / "built.js").read_text("utf-8"),
            "/** The model of this page; `given`: its `weights` and `state`, packed. */",
            "async function built(given) {",
            "  const weights = woven(await unpacked(given.weights)), state = woven(await unpacked(given.state));",
            "  const begun = new Uint8Array(state.slice(0));",
            *lines,
            "",
            "  function step(symbol) {",
            *(f"  {line}" for line in body.split("\n")),
            "  }",
            "",
            f"  const model = {{ {', '.join([*own, *names])}, first: () => begun, step }};",
            "  model.state = new Uint8Array(state);",
            "  return model;" if wasm is None else f"  return quickened(model, given.wasm, {_arrays(program, wasm)});",
            "}",
        ]
    )
    packs = {"weights": weights.packed(), "state": state.packed()}
    return text, packs if wasm is None else {**packs, "wasm": packed(np.frombuffer(wasm.code, np.uint8))}


def _arrays(program: Program, wasm: Compiled) -> str:
    """What `quickened` in `built.js` takes of a compiled step."""
    weights = []
    for buffer, (name, place) in wasm.places.items():
        shape = [str(n) for n in buffer.shape[-2:]] if buffer.linear else []
        weights.append(f"[{', '.join([buffer.name, repr(name), str(place), *shape])}]")
    states = [f"[{b.name!r}, {b.name}]" for b in wasm.states]
    return f"[{', '.join(weights)}], [{', '.join(states)}], {wasm.state_bytes}"
