"""Every command on runs of a task: of symbols, and of a signal with missing values and unequal lengths."""

from __future__ import annotations

import json
from math import sin
from pathlib import Path

import pytest
import torch

from inn.runs.load import load

SMALL = [
    *("--model.neurons", "2", "--model.width", "4", "--model.rounds", "1", "--train.symbols", "600"),
    *("--train.threads", "1", "--data.batch", "8", "--train.device", "cpu"),
]


@pytest.fixture(scope="module")
def waves(tmp_path_factory) -> Path:
    """Series of two speeds, of 20 to 29 steps, as a table; some cells are empty."""
    path = tmp_path_factory.mktemp("waves") / "waves.csv"
    rows = ["series,x,y,speed"]
    for i in range(40):
        speed = i % 2
        for t in range(20 + i % 10):
            y = "" if (i + t) % 7 == 0 else f"{sin(t + i):.3f}"
            rows.append(f"s{i},{sin((0.3 + 0.6 * speed) * t):.3f},{y},{'slow' if speed else 'fast'}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def runs(inn, waves, tmp_path_factory) -> dict[str, str]:
    """A trained run of each sort."""
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "parity": ["task:parity", "--data.task.length", "12", "--data.task.examples", "60"],
        "waves": [
            *(f"csv:{waves}", "--model.kind", "signal"),
            *("--data.task.series", "series", "--data.task.target", "speed"),
        ],
        "adding": ["task:adding", "--model.kind", "signal", "--data.task.length", "12", "--data.task.examples", "60"],
    }
    for name, options in made.items():
        assert inn("train", *options, *SMALL, "--run", folder / name).code == 0
    return {name: str(folder / name) for name in made}


def test_a_list_has_the_tasks_and_one_is_shown(inn, refused, waves):
    listed = {task["name"]: task for task in json.loads(inn("data", "list", "--json").out)["tasks"]}
    assert (listed["parity"]["reads"], listed["adding"]["metric"]) == ("symbols", "rmse")
    assert listed["parity"]["options"]["length"] == 40
    assert "task:parity" in inn("data", "list").out
    one = json.loads(inn("data", "show", "task:parity", "--task", "length=4", "--json").out)
    assert len(one["shown"][0]) == 4
    ones = 0
    for step in one["shown"][0]:
        ones += int(step["reads"])
        assert step["target"] == str(ones % 2)
    assert "→" in inn("data", "show", f"csv:{waves}", "--task", "series=series,target=speed").out
    assert "there is nothing to get" in refused("data", "get", "task:parity")
    assert "is no task" in refused("data", "show", "pydoc")
    assert "has no option 'lenght'" in refused("data", "show", "task:parity", "--task", "lenght=4")


def test_runs_and_info_say_what_a_task_is_measured_by(inn, runs):
    out = inn("runs", Path(runs["parity"]).parent).out
    assert "accuracy" in out
    assert "rmse" in out
    assert "csv:waves.csv" in out
    assert "accuracy" in inn("info", runs["parity"]).out
    assert json.loads(inn("info", runs["adding"], "--json").out)["validation"]["rmse"] > 0


@pytest.mark.parametrize("name", ["parity", "waves", "adding"])
def test_an_exported_folder_is_the_run(inn, runs, tmp_path, name):
    assert inn("export", runs[name], tmp_path / "out").code == 0
    ours, theirs = load(runs[name]), load(tmp_path / "out")
    assert ours.vocabulary == theirs.vocabulary
    x = torch.tensor([[0, 1, 1]]) if name == "parity" else torch.randn(1, 3, 2)
    assert torch.equal(ours(x)[0], theirs(x)[0])
    card = (tmp_path / "out" / "README.md").read_text()
    reads, tells = {"parity": ("`0`, `1`", "logits"), "waves": ("`x`, `y`", "`fast`"), "adding": ("`number`", "`sum`")}[
        name
    ]
    assert reads in card
    assert tells in card
    assert json.loads(inn("push", runs[name], "a/b", "--dry-run", "--json").out)["url"] is None


@pytest.mark.parametrize("name", ["parity", *(pytest.param(n, marks=pytest.mark.slow) for n in ("waves", "adding"))])
def test_neurons_are_looked_into(inn, runs, name, tmp_path):
    facts = json.loads(inn("analyze", runs[name], "--split", "train", "--stability", "--json").out)
    bits = json.loads(inn("eval", runs[name], "--split", "train", "--json").out)["bits"]
    assert facts["bits"] == pytest.approx(bits, rel=0.1)
    assert facts["task"]
    assert (facts["notes"] == []) == (name == "parity")
    assert (facts["cards"][0]["lens"] is None) == (name != "parity")
    assert (facts["cards"][0]["information"] is None) == (name == "adding")
    assert "per target" in inn("analyze", runs[name], "--split", "train").out
    page = inn("look", runs[name], "--out", tmp_path / "page.html")
    assert page.code == 0
    assert "of the test part" in page.out
    assert "inn play" not in page.out
    assert inn("stability", runs[name], "--blocks", "2").code == 0


@pytest.mark.parametrize("name", ["parity", "waves"])
def test_what_is_meant_for_a_text_is_refused(refused, runs, corpus, tmp_path, name):
    run, out = runs[name], tmp_path / "out"
    for command in (["generate", run], ["score", run, corpus], ["play", run]):
        assert "not what comes next" in refused(*command)
    for command in (
        ["compress-text", run, corpus, out],
        ["look", run, "--text", corpus, "--out", out],
        ["analyze", run, "--corpus", f"file:{corpus}"],
        ["stability", run, "--text", corpus],
        ["compress", run, "--calibrate", corpus, "--out", out],
        ["eval", run, "--compressors"],
        ["train", "demo", "--from", run, "--run", out],
        ["train", "task:markov", "--from", run, "--run", out],
    ):
        refused(*command)
    assert not out.exists()


def test_a_task_that_goes_on_like_a_text_is_written(inn, tmp_path):
    assert inn("train", "task:markov", *SMALL, "--run", tmp_path / "run").code == 0
    assert len(inn("generate", tmp_path / "run", "--tokens", 5).out.split()) == 5


@pytest.mark.parametrize("name", ["parity", "waves"])
def test_training_goes_on_from_a_run(inn, runs, tmp_path, name):
    assert inn("train", "--from", runs[name], "--run", tmp_path / "run").code == 0


def test_a_sweep_of_a_task(inn, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text("data.task.length: [4, 6]\n")
    found = inn("sweep", "task:parity", space, "--trials", 1, "--run", tmp_path / "sweep", *SMALL, "--json")
    best = json.loads(found.out)["best"]
    assert "accuracy" in best["outcome"]
    assert ":" not in Path(best["run"]).name
