"""Packages of PyTorch: a step that is loaded without this library, in Python and from C++."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import inn
from inn.export.base import export
from inn.export.step import stepped

AGAIN = """
import json, sys, torch
step, state, symbols = torch.export.load("model.pt2").module(), torch.load("state.pt"), json.loads(sys.argv[1])
for symbol in symbols:
    logits, *state = step(torch.tensor(symbol), tuple(torch.cat([t] * (len(symbol) // len(t))) for t in state))
assert "inn" not in sys.modules
print(json.dumps(logits.tolist()))
"""
SYMBOLS = [5, 7, 9, 5, 7, 1]


def bar(run):
    model = inn.load(run)
    state = model.experience
    for symbol in SYMBOLS:
        with torch.no_grad():
            logits, state = model.step(torch.tensor([symbol]), state)
    return logits[0].tolist()


@pytest.mark.slow
def test_a_step_is_loaded_without_this_library(run, tmp_path):
    folder = tmp_path / "out"
    assert "do not publish" in export(run, folder, to="pt2", compiled=False)[-1]
    assert {path.name for path in folder.iterdir()} == {"model.pt2", "state.pt", "vocabulary.json", "README.md"}
    given = json.dumps([[symbol] * 3 for symbol in SYMBOLS])  # three streams, where the example had two
    call = [sys.executable, "-I", "-c", AGAIN, given]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=120, check=True)
    for logits in json.loads(done.stdout):
        assert logits == pytest.approx(bar(run), abs=1e-4)


@pytest.mark.slow
def test_a_compiled_step_runs_from_cpp(run, tmp_path):
    if (compiler := shutil.which("g++")) is None:
        pytest.skip("there is no g++ on this machine")
    folder, torch_ = tmp_path / "out", Path(torch.__file__).parent
    said = export(run, folder, to="pt2")
    if not (folder / "compiled.pt2").exists():
        pytest.skip(said[1])
    include = [f"-I{torch_ / 'include'}", f"-I{torch_ / 'include/torch/csrc/api/include'}"]
    libraries = [f"-L{torch_ / 'lib'}", f"-Wl,-rpath,{torch_ / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
    call = [compiler, "-std=c++20", "step.cpp", "-o", "step", *include, *libraries]
    subprocess.run(call, cwd=folder, timeout=240, check=True)
    call = [str(folder / "step"), ".", *map(str, SYMBOLS)]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    assert list(map(float, done.stdout.split())) == pytest.approx(bar(run), abs=1e-4)


def test_a_part_that_cannot_be_exported_is_named():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return x * x.sum().item() if float(x.sum()) > 0 else x

    model = inn.INN(vocab=5, neurons=2, width=8, rounds=1, memory="none", router="none", recall=[]).eval()
    model.norm = torch.nn.Sequential(model.norm, Odd())
    with pytest.raises(inn.InputError, match=r"'norm\.1' \(Odd\) cannot be exported: .*inn\.load"):
        stepped(model)
