"""`inn sweep`: a table, a command to paste, a picture; and one sentence for each mistake."""

from __future__ import annotations

import json
import shlex
import sys

import pytest

pytest.importorskip("optuna")


@pytest.fixture
def here(tmp_path, monkeypatch, corpus):
    """A folder with a space in it, and what a small sweep needs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text("train.lr: {low: 1e-3, high: 2e-2, log: true}\nmodel.neurons: [2, 3]\n")
    brief = "--model.width 8 --model.rounds 1 --model.recall.slots 64 --data.batch 4 --data.window 32 --device cpu"
    more = "--train.symbols 512 --train.eval_every 2 --train.sample_every 0"
    return ["sweep", "study-smoke", "space.yaml", "--data.corpus", f"file:{corpus}", *brief.split(), *more.split()]


@pytest.mark.slow
def test_it_shows_and_draws_and_its_command_trains_the_best(inn, here, tmp_path):
    result = inn(*here, "--trials", "2")
    assert result.code == 0, result
    folder = tmp_path / "runs" / "sweep-study-smoke-space"
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "trial 0: " in result.out
    assert "trial 1: " in result.out
    found = inn(*here, "--trials", "2", "--json")  # all is done: it is only shown
    facts = json.loads(found.out)
    assert found.err == ""
    assert [row["state"] for row in facts["trials"]] == ["complete", "complete"]
    assert facts["trials"][0]["bits"] <= facts["trials"][1]["bits"]
    line = next(line.strip() for line in result.out.splitlines() if line.startswith("  inn train "))
    assert line == facts["command"]
    assert inn(*shlex.split(line)[1:]).code == 0
    summary = json.loads((tmp_path / "runs" / "sweep-study-smoke-space-best" / "summary.json").read_text())
    assert summary["best"]["bits"] == facts["best"]["bits"]


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--trials", "0"], "--trials must be at least 1, not 0"),
        (["--workers", "0"], "--workers must be at least 1, not 0"),
        (["--pruner", "medain"], "--pruner cannot be 'medain'; did you mean 'median'?"),
        (["--train.lr", "1"], "--train.lr is searched by the space"),
        (["--model.widht", "1"], "unknown field 'model.widht'; did you mean 'width'?"),
        (["--storage", "sqlite:////none/x.db"], "storage 'sqlite:////none/x.db' cannot be opened"),
    ],
)
def test_mistakes(refused, here, tmp_path, options, sentence):
    assert refused(*here, *options).startswith(sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_mistakes_in_the_space(refused, here, tmp_path):
    assert refused("sweep", "study-smoke").startswith("SPACE is missing")
    assert refused("sweep", "study-smoke", "none.yaml").startswith("cannot read none.yaml")
    (tmp_path / "config.yaml").write_text("")
    assert refused(*here, "--run", tmp_path).startswith(f"'{tmp_path}' is a run, and a sweep makes runs in a folder")
    (tmp_path / "space.yaml").write_text("train.lrr: [1]")
    assert refused(*here) == "unknown field 'train.lrr'; did you mean 'lr'?"


def test_without_optuna(refused, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert refused(*here) == "`inn sweep` needs Optuna; install it: pip install 'inn-torch[sweep]'"


def test_without_matplotlib_there_is_no_plot(inn, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = inn(*here, "--trials", "1")
    assert result.code == 0
    assert "no plot: " in result.out
