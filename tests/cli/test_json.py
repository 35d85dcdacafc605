"""--json prints exactly one JSON object on stdout and nothing else."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize(
    "argv",
    [
        ["info", "text8-paper", "--json"],
        ["info", "--json", "text8-small", "--model.kind", "ngram"],
        ["data", "list", "--json"],
        ["data", "verify", "pydoc", "--json"],
        ["data", "get", "pydoc", "--json"],
        ["eval", "RUN", "--json"],
        ["analyze", "RUN", "--symbols", "256", "--json"],
        ["generate", "RUN", "--tokens", "5", "--json"],
        ["info", "RUN", "--json"],
        ["train", "--resume", "RUN", "--json"],
        ["look", "RUN", "--symbols", "20", "--json"],
        ["recipes", "--json"],
        ["kinds", "memory", "--json"],
    ],
)
def test_one_object_and_nothing_else(inn, own_run, argv):
    result = inn(*[own_run if a == "RUN" else a for a in argv])
    assert result.code == 0, result
    assert isinstance(json.loads(result.out), dict)


def test_training_keeps_stdout_for_the_summary(inn, small, corpus, tmp_path):
    result = inn("train", "demo", "--run", tmp_path / "run", "--data.corpus", f"file:{corpus}", *small, "--json")
    summary = json.loads(result.out)
    assert summary["status"] == "finished"
    assert summary["run"] == str(tmp_path / "run")
    assert "step 10/10" in result.err


@pytest.mark.parametrize("argv", [["info", "nope", "--json"], ["eval", "nope", "--json"], ["train", "x", "--json"]])
def test_a_mistake_leaves_stdout_empty(refused, argv):
    refused(*argv)


def test_numbers_that_json_cannot_say_become_null(capsys):
    from inn.cli.common import print_json

    print_json({"a": float("inf"), "b": [float("nan"), 1.5], "c": {"d": None}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}
