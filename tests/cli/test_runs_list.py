"""`inn runs`: a table for people, JSON for programs, curves for both."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def folder(trained, tmp_path):
    """A folder with a run, a damaged one, and something else."""
    shutil.copytree(trained, tmp_path / "runs/good")
    shutil.copytree(trained, tmp_path / "runs/bad")
    (tmp_path / "runs/bad/config.yaml").write_text("model: [")
    (tmp_path / "runs/notes").mkdir()
    return tmp_path / "runs"


def test_a_table_names_all_that_is_there(inn, folder, monkeypatch):
    out = inn("runs", folder).out
    assert "good" in out
    assert "finished" in out
    assert " BPC" in out
    assert f"damaged: bad: cannot read '{folder}/bad/config.yaml'" in out
    assert "no run in: notes" in out
    monkeypatch.chdir(folder.parent)
    assert inn("runs").out == out.replace(f"{folder}/bad", "runs/bad")


def test_a_narrow_terminal_loses_the_columns_that_matter_less(inn, folder, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    monkeypatch.setenv("COLUMNS", "60")
    lines = inn("runs", folder).out.splitlines()
    assert "good" in lines[1]
    assert "best checkpoint" not in lines[0]
    monkeypatch.setenv("COLUMNS", "300")
    assert "best checkpoint" in inn("runs", folder).out.splitlines()[0]


def test_json_says_all(inn, trained, folder):
    facts = json.loads(inn("runs", folder, "--json").out)
    (run,) = facts["runs"]
    summary = json.loads((trained / "summary.json").read_text())
    assert (run["name"], run["bits"], run["checkpoint"]) == (
        "good", summary["best"]["bits"], summary["best_checkpoint"]
    )  # fmt: skip
    assert run["parameters"] == summary["parameters"]
    assert list(facts["damaged"]) == ["bad"]
    assert facts["foreign"] == ["notes"]
    assert json.loads(inn("runs", folder, "--kind", "lstm", "--json").out)["runs"] == []


def test_curves(inn, folder, tmp_path):
    pytest.importorskip("matplotlib")
    assert inn("runs", folder, "--curves", tmp_path / "curves.png").out.endswith(f"wrote {tmp_path}/curves.png\n")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_one_sentence(inn, refused, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "runs/notes")
    assert refused("runs").startswith("there is no folder 'runs'")
    assert refused("runs", folder, "--sort", "bit").startswith("--sort cannot be 'bit'; did you mean 'bits'?")
    assert "give a name that ends in .png" in refused("runs", folder, "--curves", "c.doc")
    assert "no runs in" in inn("runs", folder / "notes").out
