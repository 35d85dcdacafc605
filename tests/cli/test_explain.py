"""`inn explain` through the command line: rules in words, an automaton of a task, and the page that shows both."""

import json
import shutil
from pathlib import Path

import pytest

from inn.explorer.look import collect


@pytest.fixture(scope="module")
def run(inn, trained, tmp_path_factory) -> Path:
    """A copy, beside which rules may be kept."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("explain") / "run"))


def test_rules_are_printed_and_kept_for_the_page(inn, run):
    facts = json.loads(inn("explain", run, "--symbols", 2048, "--json").out)
    kinds = [rule["kind"] for rule in facts["rules"]]
    assert kinds == ["neuron"] * 2 + ["edge"] * 2
    for rule in facts["rules"]:
        assert rule["size"] <= 8
        assert rule["fidelity"] > 0.6 > rule["shuffled"]
        assert sum(share is not None for _, _, share in rule["lines"]) == rule["size"]
    instead = facts["instead"]
    assert instead["whole"] < instead["rules"] < instead["mean"]
    assert collect(run, symbols=100)[0]["rules"]["rules"] == facts["rules"]
    (run / "rules.json").write_text(json.dumps({**facts, "checkpoint": "step-1"}))  # trained on since
    assert collect(run, symbols=100)[0]["rules"] is None


def test_the_text_is_narrow_and_of_one_neuron(inn, run):
    out = inn("explain", run, "--symbols", 512, "--neuron", 1).out
    assert "neuron 1, round 1" in out
    assert "edge 0 → 1, round 1" in out
    assert "neuron 0, round 1" not in out
    assert "otherwise" in out
    assert "fidelity" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_a_task_that_counts_becomes_an_automaton(inn, tmp_path):
    """What tells the symbol it reads has one state; an untrained model has whatever it has."""
    task = [
        "--data.corpus",
        "task:parity",
        "--data.task.length",
        "8",
        "--model.memory",
        "none",
        "--model.recall",
        "none",
    ]
    small = ["--model.neurons", "2", "--model.width", "8", "--model.rounds", "1", "--train.symbols", "2048"]
    inn("train", "study-smoke", *task, *small, "--device", "cpu", "--run", tmp_path / "parity", "--quiet")
    facts = json.loads(inn("explain", tmp_path / "parity", "--symbols", 512, "--json").out)
    found = facts["automaton"]
    assert found["states"] == 1
    assert found["agreement"] == 1.0
    assert found["carriers"] == [1.0, 1.0]
    assert "automaton of 1 state:" in inn("explain", tmp_path / "parity", "--symbols", 512).out


def test_what_cannot_be_explained_is_refused(refused, run, monkeypatch):
    monkeypatch.delattr("inn.analysis.rules.runs.explain_run")  # all is refused before there is work
    assert refused("explain", run, "--leaves", 1) == "--leaves must be at least 2, not 1"
    assert refused("explain", run, "--neuron", 7, "--symbols", 256) == "there is no neuron 7 among 2; the first is 0"
