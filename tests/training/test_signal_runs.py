"""Training on signals: resumed bit for bit, in micro-batches, in several processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import toys  # noqa: F401 - registers the task

from inn.runs.load import load
from inn.training import events
from inn.training.start import train

GRAPH = {"kind": "signal", "neurons": 2, "width": 4, "rounds": 2}
LSTM = {"kind": "signal-lstm", "width": 6, "layers": 2, "dropout": 0.2}
TRAIN = {"symbols": 500, "lr": 0.01, "eval_every": 3, "checkpoint_every": 2, "threads": 1}


def settings(model=GRAPH, told="classes", **train_):
    data = {"batch": 6, "task": {"told": told}}
    return {"model": model, "data": data, "train": {**TRAIN, **train_}}


CASES = {
    "graph": settings(),
    "accumulate": settings(accumulate=3),
    "bfloat16": settings(dtype="bfloat16"),
    "recomputed": settings(checkpoint_rounds=True),
    "objective": settings(objective="toy-weighted"),
    "dropout": settings(GRAPH | {"dropout": 0.2}, "next"),
    "pooled": settings(GRAPH | {"pool": "mean"}, "values"),
    "quantiles": settings(GRAPH | {"head": "quantiles"}, "values"),
    "lstm": settings(LSTM),
    "transformer": settings({"kind": "signal-transformer", "width": 8, "heads": 2, "layers": 1}, "next"),
    "mamba": settings({"kind": "signal-mamba", "width": 6, "layers": 1}, "values"),
}


SLOW = ("bfloat16", "recomputed", "quantiles", "transformer", "mamba")


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] if c in SLOW else []) for c in CASES])
def test_a_run_that_was_stopped_is_the_run_that_was_not(tmp_path, case):
    class Stop(Exception):
        pass

    def stop(event: events.Event) -> None:
        if isinstance(event, events.Saved) and event.step == 4:
            raise Stop

    whole = train("task:toy-wave", tmp_path / "whole", **CASES[case])
    with pytest.raises(Stop):
        train("task:toy-wave", tmp_path / "part", **CASES[case], report=stop)
    part = train(None, tmp_path / "part", resume=True)
    a, b = load(whole).state_dict(), load(part).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    drop = ("seconds", "time", "symbols_per_s")
    lines = [[{k: v for k, v in line.items() if k not in drop} for line in run.metrics()] for run in (whole, part)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("told", ["classes", "values", "next"])
def test_micro_batches_are_one_batch(tmp_path, told):
    runs = [train("task:toy-wave", tmp_path / str(n), **settings(told=told, accumulate=n, symbols=200)) for n in (1, 3)]
    a, b = (load(run).state_dict() for run in runs)
    assert all(torch.allclose(a[name].float(), b[name].float(), atol=2e-5) for name in a)


def test_a_run_starts_from_the_weights_and_the_units_of_another(tmp_path):
    first = train("task:toy-wave", tmp_path / "first", **settings())
    again = settings(start=str(first.path), lr=1e-9, symbols=100)
    second = load(train("task:toy-wave", tmp_path / "second", **again))
    for name, t in load(first).state_dict().items():
        assert torch.allclose(t.float(), second.state_dict()[name].float(), atol=1e-6), name
    assert not np.allclose(second.input_scale.numpy(), 1.0)
