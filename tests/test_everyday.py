"""docs/everyday.md keeps its word: its blocks run as they stand, in their order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from inn.cli.main import main

PAGE = (Path(__file__).parents[1] / "docs/everyday.md").read_text(encoding="utf-8")
TINY = "--model.neurons 2 --model.width 16 --model.rounds 1 --train.symbols 2048 --data.window 32"
TINY += " --train.eval_every 1 --train.eval_symbols 2000"
NOTES = "a neuron listens, then it speaks\n" * 12


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cache) -> Path:
    """A folder with a run `runs/demo` and a text `notes.txt`, and a command `inn` in `bin`."""
    path = tmp_path_factory.mktemp("everyday")
    (path / "notes.txt").write_text(NOTES)
    assert main(["train", "demo", "--run", str(path / "runs/demo"), *TINY.split()]) == 0
    (path / "bin").mkdir()
    command = path / "bin/inn"
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom inn.cli.main import main\nsys.exit(main())\n")
    command.chmod(0o755)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    exec(compile(code, "everyday.md", "exec"), {})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="the page is written for a shell")
@pytest.mark.parametrize("script", blocks("sh"))
def test_commands_run(script, folder, monkeypatch):
    if "inn push" in script and not (find_spec("inn.hf") and find_spec("transformers")):
        pytest.skip("what is pushed is exported for transformers first")
    environ = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    monkeypatch.chdir(folder)
    for line in script.splitlines():
        line = re.sub(r"\s+#.*", "", line)
        if line.startswith("inn ") and not re.search("[|>]", line):
            assert main(shlex.split(line)[1:]) == 0, line  # here: starting Python takes longest
            continue
        shell = ["bash", "-euo", "pipefail", "-c", line]
        done = subprocess.run(shell, env=environ, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr


def test_every_kind_of_block_is_run():
    assert set(re.findall(r"^```(\w+)", PAGE, re.MULTILINE)) == {"sh", "python"}
    assert len(blocks("sh")) == 6
    assert len(blocks("python")) == 2
