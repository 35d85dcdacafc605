"""The picture of a sweep, and its absence."""

from __future__ import annotations

import sys

import optuna
import pytest

from inn.sweep.plot import draw_sweep
from inn.sweep.space import Choice, Range, Space

SPACE = Space({"a": Range(1e-3, 1.0, log=True), "b": Choice(("x", "y"))})


@pytest.fixture
def study() -> optuna.Study:
    study = optuna.create_study()
    for number in range(4):
        trial = study.ask()
        SPACE.suggest(trial)
        trial.report(3.0, 500)
        study.tell(trial, 2.0 + number, state=optuna.trial.TrialState.COMPLETE)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    return study


def test_it_is_drawn(study, tmp_path):
    pytest.importorskip("matplotlib")
    path = draw_sweep(study, SPACE, tmp_path / "new" / "sweep.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert draw_sweep(optuna.create_study(), SPACE, tmp_path / "sweep.png") is None


def test_nor_without_matplotlib(study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw_sweep(study, SPACE, tmp_path / "sweep.png") is None
    assert not list(tmp_path.iterdir())
