"""The command line, called in this process, and one small trained run that the tests may read but not change."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from inn.cli.main import main

SMALL = [
    *("--model.neurons", "2", "--model.width", "16", "--model.rounds", "1", "--model.recall.slots", "64"),
    *("--data.batch", "4", "--data.window", "32", "--train.symbols", "1280", "--train.threads", "1"),
    *(
        "--train.log_every",
        "2",
        "--train.eval_every",
        "4",
        "--train.sample_every",
        "5",
        "--train.checkpoint_every",
        "4",
    ),
    *("--device", "cpu"),
]
"""A model and a training of ten steps that take a second."""


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


def call(*argv: object) -> Result:
    """Run `inn ARGV` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(a) for a in argv])
    return Result(code, out.getvalue(), err.getvalue())


def refused(*argv: object) -> str:
    """Run a command that must be refused; returns its one sentence."""
    result = call(*argv)
    assert result.code == 2, result
    assert result.out == ""
    assert result.err.startswith("inn: ")
    assert result.err.count("\n") == 1, result.err
    assert "Traceback" not in result.err
    return result.err.removeprefix("inn: ").rstrip("\n")


@pytest.fixture(name="inn", scope="session")
def inn_fixture():
    """`inn("train", "demo", ...)` runs a command in this process."""
    return call


@pytest.fixture(name="refused", scope="session")
def refused_fixture():
    """`refused("train", "dmeo")` runs a command that must be refused, and returns its sentence."""
    return refused


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Overrides for a model and a training of ten steps that take a second."""
    return SMALL


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A text of some 20,000 characters with something to learn in it."""
    draw = random.Random(0)
    sentence = "the graph of neurons listens to each neuron and every neuron speaks when it has something to say"
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    path.write_text(" ".join(draw.choice(sentence.split()) for _ in range(4000)) + "\n")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, corpus, cache) -> Path:
    """A run of ten steps."""
    run = tmp_path_factory.mktemp("runs") / "small"
    result = call("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", *SMALL)
    assert result.code == 0, result
    return run


@pytest.fixture
def own_run(trained, tmp_path) -> Path:
    """A copy of the run that the test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "run"))
