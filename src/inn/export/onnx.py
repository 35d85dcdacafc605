"""A model as ONNX graphs that other runtimes read: one step, and a loop over steps; both carry the state."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from inn.config.exports import ONNXOptions
from inn.export.folders import README, text, write_readme, write_vocabulary
from inn.export.graphs import OPSET, SYMBOLS, decompositions, looped, quantised, step_graph
from inn.export.step import Program, stepped
from inn.models.sequence import SequenceModel
from inn.runs.exported import PRIVATE
from inn.runs.load import load_data
from inn.system.errors import InputError
from inn.system.packages import require

MODEL, PREFILL, STATE = "model.onnx", "prefill.onnx", "state.safetensors"
MOST_LOST = 0.01
"""Bits per character that 8 bits may cost; where it is more the README says so."""
_SYMBOLS, _FEWEST, _STREAMS, _BYTES = 1 << 13, 1 << 8, 8, 1 << 34  # of held-out text, by bytes that steps copy
_FILES = {
    MODEL: "one step",
    PREFILL: "a loop over steps, for a text at once",
    STATE: "the state that a stream starts from",
    "generate.py": "writes a text, with numpy and onnxruntime",
    "generate.js": "the same with onnxruntime-node",
}


class ONNX:
    """Graphs with the state as tensors that go in and come out, the vocabulary, a README, and programs that use them.

    Example: ``inn.export.export("runs/demo", "exported", to="onnx")``
    """

    def __init__(self, options: ONNXOptions):
        self.options = options
        for package in ("onnx", "onnxscript", *(["onnxruntime"] if options.int8 else [])):
            require(package, "export to ONNX", "onnx")

    def write(self, model: SequenceModel, folder: Path, home: Path) -> list[str]:
        """See `inn.export.Export`."""
        program = stepped(model, decompositions())
        step, said = step_graph(program, model), ""
        if self.options.int8:
            small = quantised(step)
            said, step = _cost(model, program, step, small, home), small
        for name, graph in ((MODEL, step), (PREFILL, looped(step))):
            (folder / name).write_bytes(graph.SerializeToString())
        save_file({name: t.contiguous() for name, t in program.state.items()}, folder / STATE)
        write_vocabulary(model, folder)
        if model.vocabulary is not None:
            for name in ("generate.py", "generate.js"):
                (folder / name).write_text(text(name), encoding="utf-8")
        quantised_as = said and f"\n## In 8 bits\n\n{said}\n"
        write_readme("onnx.md", model, program, folder, _FILES, opset=OPSET, quantised=quantised_as)
        told = [f"ONNX, opset {OPSET}; {README} says what goes in and comes out", *([said] if said else [])]
        if model.experience is not None:
            told.append(f"{STATE} {PRIVATE}")
        return told


def _cost(model: SequenceModel, program: Program, whole: Any, small: Any, home: Path) -> str:
    """What 8 bits cost, in a sentence."""
    how = (
        "Matrices and tables of symbols are in 8 bits, a scale for each column; what they multiply too, a scale a row."
    )
    try:
        if model.vocabulary is None:
            raise InputError("there is no text to measure it on")
        most = min(_SYMBOLS, max(_FEWEST, _BYTES // max(1, _size(program))))
        symbols = load_data(home).split("valid")[:most]
    except InputError as error:
        return f"{how} What that costs was not measured: {error}."
    text = np.asarray(symbols).astype(np.int64)
    characters = len(model.vocabulary.decode(text)) / len(text)  # of a symbol
    before, after = (bits(looped(graph), text, program) / characters for graph in (whole, small))
    verdict = "" if after - before <= MOST_LOST else f" That is more than {MOST_LOST}: export without int8."
    return (
        f"{how} On {len(text):,} symbols of held-out text that costs {after - before:+.4f} bits per character "
        f"({after:.4f}, in 32 bits {before:.4f}).{verdict}"
    )


def _size(program: Program) -> int:
    """Bytes of a stream's state, which a runtime copies at every step."""
    return sum(t.numel() * t.element_size() for t in program.state.values())


def bits(prefill: Any, text: np.ndarray, program: Program) -> float:
    """Bits per symbol that a loop's graph gives a text `[n]`, cut into streams that begin with the program's state."""
    session = require("onnxruntime", "measuring what 8 bits cost", "onnx").InferenceSession(prefill.SerializeToString())
    streams = min(_STREAMS, len(text) // 2)
    rows = text[: len(text) // streams * streams].reshape(streams, -1)
    state, total = {name: t.numpy().repeat(streams, 0) for name, t in program.state.items()}, 0.0
    for start in range(0, rows.shape[1] - 1, 256):
        given = rows[:, start : start + 256][:, : rows.shape[1] - 1 - start]
        logits, *after = session.run(None, {SYMBOLS: given, **state})
        state = dict(zip(program.names, after))
        logits = logits.astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        targets = rows[:, start + 1 : start + 1 + given.shape[1]]
        chosen = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
        total += (np.log(np.exp(logits).sum(-1)) - chosen).sum()
    return total / math.log(2) / (rows.shape[0] * (rows.shape[1] - 1))
