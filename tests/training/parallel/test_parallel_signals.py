"""Signals of unequal lengths and weights in two processes: the run of one process."""

from __future__ import annotations

import pytest
import torch
import yaml

from inn.runs.load import load

pytestmark = pytest.mark.slow


@pytest.fixture
def wave(tmp_path):
    """The path of a configuration, of whatever is trained."""

    def make(told: str, **train) -> str:
        tree = {
            "model": {"kind": "signal", "neurons": 2, "width": 4, "rounds": 1},
            "data": {"corpus": "task:toy-wave", "batch": 6, "task": {"kind": "toy-wave", "told": told}},
            "train": {"symbols": 600, "lr": 0.01, "threads": 1, "eval_every": 4, "log_every": 1,
                      "checkpoint_every": 4, "sample_every": 0, **train},
        }  # fmt: skip
        path = tmp_path / f"{told}-{'-'.join(map(str, train.values()))}.yaml"
        path.write_text(yaml.safe_dump(tree))
        return str(path)

    return make


@pytest.mark.parametrize(
    "told, parallel, accumulate", [("classes", "ddp", 1), ("values", "ddp", 3), ("next", "fsdp", 1)]
)
def test_two_processes_train_what_one_does(groups, wave, tmp_path, told, parallel, accumulate):
    config = wave(told, parallel=parallel, accumulate=accumulate)
    for world in (1, 2):
        groups(settings=config, run=str(tmp_path / str(world)), world=world)
    a, b = (load(tmp_path / str(world)).state_dict() for world in (1, 2))
    assert all(torch.allclose(a[name].float(), b[name].float(), atol=1e-4) for name in a)


def test_two_processes_go_on_where_they_stopped(groups, wave, tmp_path):
    config = wave("classes")
    groups(settings=config, run=str(tmp_path / "whole"), world=2)
    groups(settings=config, run=str(tmp_path / "part"), world=2, stop=3)
    groups(settings=config, run=str(tmp_path / "part"), world=2, resume=True)
    a, b = (load(tmp_path / name).state_dict() for name in ("whole", "part"))
    assert all(torch.equal(a[name], b[name]) for name in a)
