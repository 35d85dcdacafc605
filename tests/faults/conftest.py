"""A run small enough to be killed many times: its settings are read by the tests and by the processes they start."""

from __future__ import annotations

import contextlib
import io
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from inn.cli.main import main
from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.export.base import export
from inn.training.trainer import fit


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    draw = random.Random(0)
    words = "the a cat dog sat ran on under over mat tree and then it was not so very".split()
    path = tmp_path_factory.mktemp("corpus") / "small.txt"
    path.write_text("".join(draw.choice(words) + draw.choice(["\n", " ", " ", " "]) for _ in range(4500)))
    return path


@pytest.fixture(scope="session")
def tiny(text_file):
    """`tiny(kind, **train)`: 30 steps, a checkpoint after every second one."""

    def make(kind: str, **settings) -> RunConfig:
        fields = {
            "inn": {"neurons": 2, "width": 8, "rounds": 1, "slots": 64, "state": 4, "dropout": 0.1},
            "lstm": {"width": 8, "dropout": 0.1},
        }[kind]
        defaults = {
            "symbols": 4 * 16 * 30,
            "threads": 1,
            "log_every": 1,
            "eval_every": 6,
            "eval_symbols": 200,
            "sample_every": 0,
            "checkpoint_every": 2,
        }
        return RunConfig(
            model_config(kind, **fields),
            DataConfig(corpus=f"file:{text_file}", batch=4, window=16),
            TrainConfig(**{**defaults, **settings}),
        )

    return make


@pytest.fixture(scope="session")
def whole(tiny, cache, tmp_path_factory):
    """The directory of an LSTM's run that nothing happened to."""
    path = tmp_path_factory.mktemp("whole") / "run"
    fit(tiny("lstm"), path)
    return path


@pytest.fixture
def config_file(tiny, tmp_path):
    """The configuration of `tiny("inn")` in a YAML file."""
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(tiny("inn").to_dict()))
    return path


@dataclass
class Answer:
    """What a command did: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """The one sentence of a refusal."""
        assert self.code == 2, self
        assert self.err.startswith("inn: ")
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        sentence = self.err.removeprefix("inn: ").rstrip("\n")
        assert len(sentence) <= 300, sentence
        return sentence


def call(*argv: object) -> Answer:
    """Run `inn ARGV` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(a) for a in argv])
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture(name="call", scope="session")
def call_fixture():
    """`call("generate", RUN)` runs a command in this process."""
    return call


@pytest.fixture(scope="session")
def kept_run(tiny, cache, tmp_path_factory) -> Path:
    """A run of a small graph that recalls; not to be changed."""
    path = tmp_path_factory.mktemp("kept") / "run"
    fit(tiny("inn", checkpoint_every=10), path)
    return path


@pytest.fixture(scope="session")
def kept_folder(kept_run, tmp_path_factory) -> Path:
    """Its exported folder; not to be changed."""
    pytest.importorskip("inn.hf.export")
    export(kept_run, folder := tmp_path_factory.mktemp("exported") / "folder")
    return folder
