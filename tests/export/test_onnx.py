"""ONNX: a stranger's runtime gives the numbers that PyTorch gives, and recalls bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch

import inn
from inn.cli.main import main
from inn.config.assemble import model_config, stored_model
from inn.models.build import build_model
from inn.registry import MEMORIES, ROUTERS

onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install 'inn-torch[onnx]'")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'inn-torch[onnx]'")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'inn-torch[onnx]'")

from inn.export.graphs import OPSET, decompositions, looped, quantised, step_graph  # noqa: E402
from inn.export.step import Program, part_name, stepped  # noqa: E402

SEEN = [{"kind": "last", "length": 1, "skip": 1}, {"kind": "last", "length": 3}, {"kind": "column", "newline": 3}]
FEW = {"slots": 64, "followers": 2}
ALONE = {"memory": "none", "router": "none"}
QUICK = [
    {**ALONE, "recall": {"kind": "last", "contexts": [1, 3], "slots": 37}},
]


def mixed():
    """Populations of two kinds of memory, which are exported in little more time than one is."""
    kinds = [*MEMORIES]
    for first, second, router in zip(kinds[::2], cycle(kinds[1::2]), cycle(ROUTERS)):
        pair = [{"neurons": 1, "memory": memory} for memory in (first, second)]
        yield {"population": pair, "router": router, "recall": []}


OPTIMISED = [*QUICK, {"neurons": 4, "topology": "ring", "recall": []}]
"""What is rewritten as in a file; of the others that would be nearly half of the time (carried state: both of them)."""
SLOW = [
    {"recall": {"kind": "counts", "contexts": [1, 4], "slots": 7, "followers": 3}},
    *mixed(),
    {**ALONE, "recall": {"kind": "counts", "contexts": SEEN, **FEW}},
    {**ALONE, "recall": {"kind": "counts", "contexts": ["word"], "letters": [0, 1, 5, 6], **FEW}},
    {"vocab": 300, "recall": {"kind": "counts", "contexts": [1, 2], **FEW}},
    {"neurons": 4, "topology": "ring", "recall": []},
    {"kind": "lstm", "layers": 1},
    {"kind": "mamba-stack", "layers": 1},
    {"kind": "transformer", "heads": 2, "layers": 1, "window": 8},
]


def build(fields: Any):
    torch.manual_seed(0)
    if "kind" in fields:
        return build_model(model_config(**fields, vocab=11, width=8)).eval()
    small = {"vocab": 11, "neurons": 2, "width": 8, "rounds": 1, "zero_start": False}
    return inn.INN(stored_model({**small, **fields})).eval()


def graphs(model, optimize=True):
    program = stepped(model, decompositions())
    step = step_graph(program, model, optimize=optimize)
    return program, step, looped(step)


def session(graph):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(graph.SerializeToString(), options)


def text(streams, steps, vocab=11):
    """Often one of few symbols, so that contexts come again."""
    few, all_ = torch.randint(3, (streams, steps)), torch.randint(vocab, (streams, steps))
    return torch.where(torch.rand(streams, steps) < 0.6, few, all_)


def given(state):
    return {part_name(key): t.numpy() for key, t in state.items()}


def check(ours, logits, state, names):
    """Logits and states; whole numbers bit for bit."""
    bar = {"logits": logits.numpy(), **given(state)}
    for name, one in zip(["logits", *names], ours, strict=True):
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, bar[name], rtol=1e-4, atol=1e-4, err_msg=name)
        else:
            assert np.array_equal(one, bar[name]), name


@pytest.mark.parametrize("fields", [*QUICK, *(pytest.param(f, marks=pytest.mark.slow) for f in SLOW)], ids=str)
def test_a_step_and_a_loop_are_the_model(fields):
    """Step by step from the model's own state, as an untrained one may be chaotic; and from its own, step by step."""
    model = build(fields)
    program, step, loop = graphs(model, optimize=fields in OPTIMISED)
    read, symbols, told = session(step), text(3, 40, model.config.vocab), []
    state = model.initial_state(3)
    fed = given(state)
    for t in range(40):
        symbol = symbols[:, t].numpy()
        ours = read.run(None, {"symbol": symbol, **given(state)})
        logits, *after = read.run(None, {"symbol": symbol, **fed})
        fed, told = dict(zip(program.names, after, strict=True)), [*told, logits]
        with torch.no_grad():
            bar, state = model.step(symbols[:, t], state)
        check(ours, bar, state, program.names)
    assert all(np.array_equal(fed[name], t) for name, t in given(state).items() if t.dtype.kind == "i")
    every, state = session(loop), given(model.initial_state(3))
    for start, end in ((0, 17), (17, 40)):  # any split
        logits, *after = every.run(None, {"symbols": symbols[:, start:end].numpy(), **state})
        state = dict(zip(program.names, after, strict=True))
        np.testing.assert_allclose(logits, np.stack(told[start:end], 1), atol=1e-6)
    assert all(np.allclose(state[name], fed[name], atol=1e-6) for name in program.names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [{}, {**ALONE, "recall": {"kind": "counts", "contexts": [2, 4], "slots": 64}}], ids=str
)
def test_ten_thousand_symbols_of_carried_state(fields):
    model = build(fields)
    program, _, loop = graphs(model)
    read, symbols, state = session(loop), text(1, 10_000), model.initial_state(1)
    fed = given(state)
    for start in range(0, 10_000, 1000):
        logits, *after = read.run(None, {"symbols": symbols[:, start : start + 1000].numpy(), **fed})
        with torch.no_grad():
            bar, state = model(symbols[:, start : start + 1000], state)
        check([logits, *after], bar, state, program.names)
        fed = dict(zip(program.names, after, strict=True))


def test_8_bits_are_near_and_keep_streams_apart():
    """A table of symbols, neurons' matrices, a head with a bias: all three are taken."""
    make, random = onnx.helper, np.random.default_rng(0)
    weights = {"E": (64, 64), "W": (2, 64, 96), "H": (96, 64), "c": (64,)}
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    nodes = [
        make.make_node("Gather", ["E", "symbol"], ["x"]),
        make.make_node("MatMul", ["x", "W"], ["y"]),
        make.make_node("ReduceSum", ["y", "first"], ["z"], keepdims=0),
        make.make_node("Gemm", ["z", "H", "c"], ["logits"]),
    ]
    values = [
        make.make_tensor_value_info("symbol", onnx.TensorProto.INT64, ["batch"]),
        make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 64]),
    ]
    stored = [onnx.numpy_helper.from_array(a, name) for name, a in {**weights, "first": np.array([0])}.items()]
    graph = make.make_graph(nodes, "step", values[:1], values[1:], stored)
    step = make.make_model(graph, opset_imports=[make.make_opsetid("", OPSET)], ir_version=10)
    small = quantised(step)
    assert small.ByteSize() < 0.3 * step.ByteSize()
    (bar,), (ours,) = (session(one).run(None, {"symbol": np.arange(5)}) for one in (step, small))
    assert 0 < np.abs(ours - bar).max() < 0.03 * np.abs(bar).max()
    alone = session(small)
    for i in range(5):
        np.testing.assert_array_equal(alone.run(None, {"symbol": np.array([i])})[0][0], ours[i])


@pytest.mark.slow
def test_what_is_written_writes_without_this_library(run, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["export", str(run), str(folder), "--to", "onnx", "--onnx.int8", "true"]) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in ("bits per character", "do not publish"))
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "prefill.onnx", "state.safetensors", "vocabulary.json", "README.md", "generate.py", "generate.js",
    }  # fmt: skip
    readme = (folder / "README.md").read_text()
    assert all(words in readme for words in ("`recall.table` | int32", "opset 20"))
    vocabulary = inn.load(run).vocabulary
    assert vocabulary is not None
    pieces = json.loads((folder / "vocabulary.json").read_text())["pieces"]
    assert b"".join(bytes.fromhex(p) for p in pieces).decode() == vocabulary.decode(range(vocabulary.size))
    call = [sys.executable, "-I", str(folder / "generate.py"), "The ", "30", "0.7"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=True)
    assert len(done.stdout) == 30


def test_what_cannot_be_written_is_named():
    for kind, fields, named in (
        ("ngram", {}, "n-gram"),
        ("signal", {"features": 2, "neurons": 1, "width": 4}, "signals"),
    ):
        model = build_model(model_config(kind, **fields)).eval()
        with pytest.raises(inn.InputError, match=named):
            stepped(model)


def test_a_part_without_a_form_in_onnx_is_named():
    class Solved(torch.nn.Module):
        def forward(self, symbol, state):
            return (torch.linalg.eigvals(symbol[:, None, None].float()).real,)

    model = build({"kind": "lstm", "layers": 1})
    exported = torch.export.export(Solved(), (torch.zeros(2, dtype=torch.long), ()))
    with pytest.raises(inn.InputError, match=r"the operation aten\.linalg_eig has no form in ONNX; .*--to pt2"):
        step_graph(Program(exported, [], {}), model)
