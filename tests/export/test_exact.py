"""A plain program comes to the same bits in NumPy, in C and in JavaScript, and to what the model says."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess

import numpy as np
import pytest
import torch

import inn
from inn.export.exact.functions import FORMULAS
from inn.export.exact.plain import plain
from inn.export.exact.run import Streams
from inn.export.exact.trace import plain_program
from inn.export.program import Buffer, Map, Op, Program, View
from inn.inference.learning import Reader
from inn.system.errors import InputError

from .printed import Compiled, script
from .test_c import kinds, small

COUNTS = {"kind": "counts", "slots": 32, "followers": 6, "contexts": [1, 2, 3]}
STEPS = 300
BITS = "8aa5811bc09eaf8c"
"""Of the logits of all steps, as every machine has them."""


@functools.cache
def known():
    """A program of weights that depend on no generator, symbols, what is found at each, and what comes of it."""
    model = inn.INN(vocab=27, neurons=3, width=12, rounds=2, recall=COUNTS).eval()
    place = 0
    with torch.no_grad():
        for p in model.parameters():
            numbers = (torch.arange(place, place + p.numel()) * 7919 % 1009).float() / 1009 - 0.5
            p.copy_((numbers * (1.0 if p.ndim > 1 else 0.5)).reshape(p.shape))
            place += p.numel()
    numbers = np.arange(STEPS)
    symbols = (numbers * numbers // 7 + numbers % 11) % 27
    tables = Reader(model)
    found = [tables.look_up(torch.tensor([[s]])) or {} for s in symbols.tolist()]
    told = [{name: t.numpy() for name, t in one.items()} for one in found]
    program = plain_program(model)
    streams = Streams(program, 1)
    results = [{k: v[0].copy() for k, v in streams.step(s, f).items()} for s, f in zip(symbols, told)]
    carried = b"".join(streams._array(b).tobytes() for b in program.states)
    return model, program, symbols, told, results, carried


def test_it_is_what_the_model_says_in_bits_that_every_machine_has():
    model, _, symbols, _, results, _ = known()
    reader = Reader(model)
    with torch.no_grad():
        said = np.stack([reader.step(torch.tensor([s]))[0].numpy() for s in symbols.tolist()])
    found = np.stack([one["logits"] for one in results])
    assert np.abs(found - said).max() < 1e-5
    assert hashlib.sha256(found.astype("<f8").tobytes()).hexdigest()[:16] == BITS
    odds = np.stack([one["odds"] for one in results])
    assert (odds.max(1) == 2.0**30).all()
    assert (odds == np.floor(odds)).all()
    np.testing.assert_allclose(odds / 2.0**30, np.exp(said - said.max(1, keepdims=True)), atol=1e-5)


@pytest.mark.parametrize(
    "compiler",
    [
        ("gcc", "-O2", "-march=native"),
        *(
            pytest.param(c, marks=pytest.mark.slow)
            for c in [("gcc", "-O0"), ("gcc", "-O3"), ("clang", "-O0"), ("clang", "-O3", "-march=native")]
        ),
    ],
)
def test_c_comes_to_the_same_bits(compiler, tmp_path):
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no {compiler[0]} on this machine")
    _, program, symbols, told, results, carried = known()
    compiled = Compiled(program).load(tmp_path, compiler)
    for symbol, found, expected in zip(symbols, told, results):
        for name, numbers in compiled.step(int(symbol), found).items():
            assert numbers.tobytes() == expected[name].tobytes()
    assert compiled.state.tobytes()[: len(carried)] == carried


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on this machine")
def test_javascript_comes_to_the_same_bits(tmp_path):
    _, program, symbols, told, results, _ = known()
    found = [{name: t.reshape(-1).tolist() for name, t in one.items()} for one in told]
    (tmp_path / "step.js").write_text(script(program, symbols.tolist(), found))
    done = subprocess.run(["node", "step.js"], cwd=tmp_path, check=True, capture_output=True, text=True)
    numbers = [one[name].view(np.uint64).tolist() for one in results for name in ("logits", "odds")]
    expected = [" ".join(f"{bits:x}" for bits in row) for row in numbers]
    assert done.stdout.split("\n")[:-1] == expected


def test_streams_side_by_side_are_each_as_if_alone():
    _, program, symbols, told, results, _ = known()
    three = Streams(program, 3)
    for i in range(60):
        at = [i, (i + 7) % 60, i]
        given = {name: np.concatenate([told[k][name] for k in at]) for name in told[0]}
        logits = three.step(symbols[at], given)["logits"]
        assert logits[0].tobytes() == logits[2].tobytes() == results[i]["logits"].tobytes()


def test_functions_are_near():
    torch_of = {name: getattr(torch.nn.functional, name) for name in ("softplus", "silu", "gelu")}
    torch_of["gelu_tanh"] = functools.partial(torch_of["gelu"], approximate="tanh")
    shape = (1003,)
    for fn in sorted({*FORMULAS} - {"pow"}):
        x = np.concatenate((np.linspace(-12, 12, 997), [0.0, 1e-9, -1e-9, 30.0, -30.0, 0.5]))
        x = np.abs(x) + 1e-9 if fn.startswith("log") or fn in ("rsqrt", "reciprocal") else x
        expected = (torch_of.get(fn) or getattr(torch, fn))(torch.from_numpy(x)).numpy()
        given, out = Buffer("x", "input", shape, "float64"), Buffer("logits", "output", shape, "float64")
        view, target = (View(b, shape, (1,)) for b in (given, out))
        ops: list[Op] = [Map(fn, (view,), target, "float64", "")]
        program = Program(Buffer("symbol", "input", (1,), "int64"), out, [], {}, ops, [given])
        found = Streams(plain(program), 1).step(np.zeros(1), {"x": x})["logits"][0]
        tolerance = 3e-7 if fn in ("erf", "gelu") else 3e-9
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=4 * tolerance, err_msg=fn)


def test_what_has_no_such_form_is_refused():
    class Own(torch.nn.Module):
        def forward(self, x):
            return x.prod(-1, keepdim=True) + torch.atan(x)

    model = small(recall="none")
    model.norm = torch.nn.Sequential(model.norm, Own())
    with pytest.raises(InputError, match=r"norm, 1 of this model takes the \w+ '(prod|atan)', .*--portable"):
        plain_program(model)


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds())
def test_every_kind_is_what_the_model_says(kind):
    model = small(**{"rounds": 1, "recall": "none", **kinds()[kind]})
    streams, state = Streams(plain_program(model), 1), model.initial_state(1)
    for symbol in range(0, 24, 2):
        with torch.no_grad():
            logits, state = model.step(torch.tensor([symbol]), state)
        assert np.abs(streams.step(np.array([symbol]))["logits"] - logits.numpy()).max() < 2e-5
