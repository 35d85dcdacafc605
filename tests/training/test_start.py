"""Training as one call: recipes with fields over them, a run that comes back, and one that goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import toys  # noqa: F401  (registers an objective)
import yaml

import inn
from inn.config.settings import resolve
from inn.runs.directory import Run
from inn.system.errors import InputError
from inn.training import events
from inn.training.start import overrides, train
from inn.training.trainer import fit

MODEL = {"neurons": 2, "width": 8, "rounds": 1, "memory": {"kind": "mamba", "state": 4}, "slots": 64}
TRAIN = {"symbols": 4 * 16 * 6, "threads": 1, "log_every": 1, "eval_every": 3, "eval_symbols": 300, "sample_every": 0}


@pytest.fixture
def data(text_file) -> dict:
    return {"corpus": f"file:{text_file}", "batch": 4, "window": 16}


def weights(run: Run) -> bytes:
    return max(run.checkpoints.glob("step-*/model.safetensors")).read_bytes()


def test_a_recipe_with_fields_over_it_gives_a_run(tmp_path, data, capfd):
    told: list[events.Event] = []
    run = train("demo", tmp_path / "run", model=MODEL, data=data, train=TRAIN, report=told.append)
    assert isinstance(run, Run)
    summary = run.summary()
    assert summary is not None
    assert (summary["status"], summary["step"]) == ("finished", 6)
    config = run.config()
    assert (config.model.neurons, config.model.memory.state, config.data.batch) == (2, 4, 4)
    assert isinstance(told[-1], events.Finished)
    started = next(i for i, event in enumerate(told) if isinstance(event, events.Started))
    assert all(isinstance(event, events.Preparing) for event in told[:started])
    assert capfd.readouterr().out == ""


def test_it_is_the_run_of_the_settings(tmp_path, data):
    words = [
        f"--{section}.{name}={value}"
        for section, fields in (("data", data), ("train", TRAIN))
        for name, value in fields.items()
    ]
    words += ["--model.neurons=2", "--model.width=8", "--model.rounds=1", "--model.state=4", "--model.recall.slots=64"]
    settings = resolve("demo", words)
    fit(settings.config, tmp_path / "fit")
    one = train(settings, tmp_path / "settings")
    two = train(settings.config, tmp_path / "config")
    three = train("demo", tmp_path / "fields", model=MODEL, data=data, train=TRAIN)
    tree = settings.config.to_dict()
    del tree["model"]["vocab"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(tree))
    four = train(tmp_path / "mine.yaml", tmp_path / "file")
    for run in (one, two, three, four):
        assert weights(run) == weights(Run(tmp_path / "fit"))


def test_settings_may_be_changed_by_field_and_resolved_ones_not(tmp_path, data):
    settings = resolve("demo", overrides(model=MODEL, data=data, train=TRAIN))
    run = train(settings.config, tmp_path / "run", train={"seed": 3})
    assert run.config().train.seed == 3
    assert run.config().model.memory.state == 4
    with pytest.raises(InputError, match=r"settings that are resolved cannot be changed by '--train\.seed=3'"):
        train(settings, tmp_path / "other", train={"seed": 3})
    with pytest.raises(InputError, match="a new run needs a recipe"):
        train(None, tmp_path / "other")


def test_resume_goes_on_or_begins(tmp_path, data):
    def stop(event: events.Event) -> None:
        if isinstance(event, events.Progress) and event.step == 2:
            signal.raise_signal(signal.SIGTERM)

    fields = {"model": MODEL, "data": data, "train": TRAIN}
    whole = train("demo", tmp_path / "whole", **fields)
    run = train("demo", tmp_path / "run", **fields, resume=True, report=stop)
    assert run.summary()["status"] == "stopped"  # type: ignore[index]
    with pytest.raises(InputError, match="exists already"):
        train("demo", tmp_path / "run", **fields)
    with pytest.raises(InputError, match=r"was started with train\.lr"):
        train("demo", run, model=MODEL, data=data, train={**TRAIN, "lr": 0.5}, resume=True)
    with pytest.raises(InputError, match="a run to resume cannot be changed"):
        train(None, run, train={"lr": 0.5}, resume=True)
    assert train("demo", run, **fields, resume=True).summary()["status"] == "finished"  # type: ignore[index]
    assert weights(run) == weights(whole)
    assert train(None, run, resume=True).summary()["step"] == 6  # type: ignore[index]
    with pytest.raises(InputError, match="is not a run"):
        train(None, tmp_path / "nowhere", resume=True)


def test_a_run_is_a_path_of_one(tmp_path, data):
    run = train("demo", tmp_path / "run", model=MODEL, data=data, train={**TRAIN, "symbols": 64})
    assert os.fspath(run) == str(run) == str(tmp_path / "run")
    assert Path(run) == run.path
    assert repr(run) == f"Run('{tmp_path / 'run'}')"
    assert inn.load(run).num_parameters == run.summary()["parameters"]  # type: ignore[index]
    assert Run(run).config() == run.config()
    more = train("demo", tmp_path / "more", model=MODEL, data=data, train={**TRAIN, "symbols": 64, "start": run})
    assert more.config().train.start == str(run)


def test_parts_and_sizes_are_found(tmp_path, data):
    objective = {"kind": "toy-weighted", "rate": 0.3}
    fields = {"data": data, "train": {**TRAIN, "symbols": 64, "objective": objective}}
    model = {**{name: value for name, value in MODEL.items() if name != "width"}, "parameters": 9000}
    run = train("demo", tmp_path / "run", model=model, **fields)
    assert run.config().train.objective.rate == 0.3
    assert run.summary()["parameters"] == pytest.approx(9000, rel=0.2)  # type: ignore[index]
    assert train("demo", run, model=model, **fields, resume=True).config() == run.config()


def test_mistakes_are_told_before_anything_is_written(tmp_path, data):
    for fields in (
        {"model": {"neurns": 2}},
        {"model": {"memory": {"kind": "mambo"}}},
        {"model": {"memory": {"kind": "mamba", "stat": 2}}},
        {"train": {"device": "cuda:99"}},
        {"train": {"lr": "fast"}},
        {"data": {"corpus": "file:/nowhere/at-all.txt"}},
    ):
        with pytest.raises(InputError):
            train("demo", tmp_path / "run", **{"data": data, **fields})
    with pytest.raises(InputError, match="unknown recipe 'dmo'"):
        train("dmo", tmp_path / "run")
    assert not (tmp_path / "run").exists()
