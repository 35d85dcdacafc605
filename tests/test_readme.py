"""README and docs/inside.md keep their word: their Python runs, their commands exist with the options given."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest
import torch

from inn.cli import COMMANDS, main
from inn.explorer.server import LocalServer
from inn.sequence import SequenceModel

ROOT = Path(__file__).parents[1]
PAGES = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/inside.md")]
TINY = "--model.neurons 2 --model.width 16 --model.rounds 1 --model.heads 2 --train.symbols 512 --data.window 32"


def blocks(language: str) -> list[str]:
    """The fenced blocks of the pages in a language."""
    return [b for page in PAGES for b in re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]


def commands() -> list[str]:
    """The `inn ...` lines of its sh blocks, continued lines joined, comments left out."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    found = [re.sub(r"\s+#.*", "", line).strip().removeprefix("$ ") for line in lines]
    return [line for line in found if line.startswith("inn ")]


def interrupt(server: LocalServer) -> None:
    """What a person does who has seen enough."""
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cache) -> Path:
    """A folder with a run `runs/demo` in it, as `make demo` leaves it, only smaller."""
    path = tmp_path_factory.mktemp("readme")
    assert main(["train", "demo", "--run", str(path / "runs/demo"), *TINY.split()]) == 0
    return path


def test_the_pages_have_something_to_test():
    assert blocks("python")
    assert commands()


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, folder, monkeypatch):
    endless = SequenceModel.generate
    monkeypatch.chdir(folder)
    monkeypatch.setattr(SequenceModel, "generate", lambda *a, **k: islice(endless(*a, **k), 20))
    names = {"tokens": torch.randint(256, (2, 16)), "more_tokens": torch.randint(256, (2, 16))}
    exec(compile(code, "page", "exec"), names)


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line):
    _, *argv = shlex.split(line.split("|")[0].split(">")[0])
    import_module(COMMANDS[argv[0]][0]).parse(argv[1:])


@pytest.mark.loopback
@pytest.mark.parametrize("line", commands())
def test_commands_run(line, folder, tmp_path, monkeypatch, capsys):
    """Every command, as it stands; training reads the demo's text, little of it, and writes elsewhere."""
    for name in ("small", "demo", "other"):
        shutil.copytree(folder / "runs/demo", tmp_path / "runs" / name)
    (tmp_path / "notes.txt").write_text("a neuron listens, then it speaks; " * 200)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalServer, "serve_forever", interrupt)
    _, *argv = shlex.split(line)
    if argv[0] == "train" and argv[1] != "--resume":
        argv[1] = "demo"
        argv[argv.index("--run") + 1] += "-new"
        argv += ["--train.symbols", "512", "--data.window", "32"]
    assert main(argv) == 0
    assert capsys.readouterr().out
