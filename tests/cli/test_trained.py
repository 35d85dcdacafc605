"""Trained models that installed packages bring: named as runs are, and what is said where they are not there."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import inn as library
from inn.export.base import export
from inn.registry import TRAINED
from inn.runs.directory import Run
from inn.runs.trained import located


@pytest.fixture
def installed(trained, corpus, tmp_path, monkeypatch):
    """A package that brings a small run as `poet`, one as `text8`, a name of a recipe, and one that is no folder."""
    export(trained, tmp_path / "wheel" / "poet", to="small")
    (tmp_path / "wheel" / "poets.py").write_text(
        "from pathlib import Path\npoet = Path(__file__).parent / 'poet'\nno = 1"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "wheel"))
    names = {"poet": "poets:poet", "text8": "poets:poet", "nobody": "poets:no"}
    entries = {name: EntryPoint(name, place, "inn.trained") for name, place in names.items()}
    monkeypatch.setattr(TRAINED, "_brought", entries)
    (tmp_path / "here").mkdir()
    shutil.copy(corpus, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "wheel" / "poet"


def test_a_name_is_a_run_wherever_a_run_is_taken(inn, refused, installed, trained, corpus):
    written = inn("generate", "poet", "--tokens", 20, "--seed", 1)
    assert (written.code, written.out) == (0, inn("generate", installed, "--tokens", 20, "--seed", 1).out)
    assert Run("poet").path == installed
    assert Run("poet").config().data.corpus == f"file:{corpus.name}"  # no folder of the machine that it is from
    assert torch.equal(library.load("poet").embedding.weight, library.load(installed).embedding.weight)
    assert json.loads(inn("info", "poet", "--json").out)["validation"] is not None
    assert json.loads(inn("info", "text8", "--json").out)["validation"] is None  # the recipe of that name
    assert json.loads(inn("kinds", "trained", "--json").out)["trained"].keys() == {"poet", "text8", "nobody"}
    assert "named as a run is: nobody, poet, text8" in inn("runs", trained.parent).out
    assert inn("look", "poet").code == 0
    assert Path("poet.html").is_file()
    assert "inn train --from poet --run DIR" in refused("train", "--resume", "poet")
    assert "did you mean 'poet'?" in refused("generate", "poett")
    assert "'nobody' of an installed package is not the path of a folder" in refused("generate", "nobody")


def test_a_folder_comes_before_a_name(inn, installed, trained):
    shutil.copytree(trained, "poet")
    assert located("poet") == "poet"
    assert library.load("poet").experience is not None
    assert Run("poet").path.resolve() != installed


def test_what_is_not_installed_is_named(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(TRAINED, "_brought", {})
    monkeypatch.chdir(tmp_path)
    for command in ("generate", "score", "play"):
        assert refused(command, "text8").endswith(
            "the trained model 'text8' comes with inn-models, which is not installed here: pip install inn-models"
        )
