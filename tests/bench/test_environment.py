"""The benchmark's own environment, without a network: venv and pip are played by the test."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inn_benchmarks import environment
from inn_benchmarks.environment import PINS, Unavailable


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """What was run; `commands.fails` makes pip fail with this output."""

    class Commands(list):
        fails = ""

    made = Commands()

    def fake(command, **options):
        made.append(command)
        assert "PYTHONPATH" not in options["env"]
        if command[1:3] == ["-m", "venv"]:
            version = f"python{sys.version_info.major}.{sys.version_info.minor}"
            (Path(command[3]) / "lib" / version / "site-packages").mkdir(parents=True)
        failed = bool(made.fails) and "pip" in command
        return subprocess.CompletedProcess(command, int(failed), "", made.fails if failed else "")

    monkeypatch.setenv("INN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    monkeypatch.setattr(environment.subprocess, "run", fake)
    return made


def folder(tmp_path) -> Path:
    return tmp_path / "cache" / "bench" / environment.key()


def test_it_is_built_once(commands, tmp_path):
    first = environment.python()
    assert first == folder(tmp_path) / "bin" / "python"
    assert len(commands) == 2
    assert environment.python() == first
    assert len(commands) == 2


def test_torch_is_the_one_that_is_here(commands, tmp_path):
    environment.python()
    [pth] = folder(tmp_path).rglob("*.pth")
    assert str(Path(torch.__file__).parents[1]) in pth.read_text().splitlines()
    install = commands[1]
    constraints = Path(install[install.index("-c") + 1]).read_text()
    assert constraints == f"torch=={importlib.metadata.version('torch')}\n"
    assert install[-len(PINS) :] == list(PINS)
    assert all("==" in pin for pin in PINS)


def test_half_an_environment_is_built_again(commands, tmp_path):
    left = folder(tmp_path) / "bin" / "python"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    environment.python()
    assert not left.exists()  # the folder was made anew
    assert (folder(tmp_path) / "done").exists()


def test_pip_that_fails_is_one_sentence(commands, tmp_path):
    commands.fails = "WARNING: Retrying\nERROR: No matching distribution found for mambapy==1.2.0\n"
    with pytest.raises(Unavailable) as error:
        environment.python()
    assert str(error.value) == (
        f"{', '.join(PINS)} cannot be installed: No matching distribution found for mambapy==1.2.0"
    )
    assert not (folder(tmp_path) / "done").exists()
    commands.fails = ""
    assert environment.python()  # the next one tries again


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INN_CACHE", str(tmp_path / "file"))
    with pytest.raises(Unavailable, match="cannot be built"):
        environment.python()


def test_another_torch_is_another_environment(monkeypatch):
    before = environment.key()
    monkeypatch.setattr(environment.importlib.metadata, "version", lambda name: "0.0.1")
    assert environment.key() != before
