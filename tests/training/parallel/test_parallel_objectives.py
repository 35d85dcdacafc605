"""Objectives and named penalties in several processes: the numbers of one process."""

from __future__ import annotations

import pytest
import toys  # noqa: F401  (registers a memory and objectives)

from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run

pytestmark = pytest.mark.slow
WEIGHTED = {"kind": "toy-weighted", "rate": 0.8}
NAMES = ("loss", "penalty", "penalty.rate", "penalty.gate", "penalty.size", "objective.hits", "objective.nats")


def model() -> dict:
    return {"memory": "toy-leaky", "gate": "soft", "gate_penalty": 0.3}


def lines(run) -> list[dict]:
    return [line for line in Run(run).metrics() if line["event"] == "train"]


def last(run):
    folder = run / "checkpoints"
    return folder / checkpoints.name_of(checkpoints.steps(folder)[-1])


def same_lines(one, many) -> None:
    for a, b in zip(lines(one), lines(many), strict=True):
        for name in NAMES:
            assert b[name] == pytest.approx(a[name], abs=1e-5), name


@pytest.fixture(scope="module")
def alone(groups, settings, tmp_path_factory):
    run = tmp_path_factory.mktemp("alone") / "run"
    groups(settings=settings(model=model(), objective=WEIGHTED), run=str(run), world=1)
    return run


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "checkpoint_rounds": True}])
def test_two_processes_are_one(groups, settings, alone, tmp_path, parallel, options):
    config = settings(model=model(), objective=WEIGHTED, parallel=parallel, **options)
    groups(settings=config, run=str(tmp_path / "run"), world=2)
    same_lines(alone, tmp_path / "run")
    ours, theirs = (checkpoints.load(last(run)) for run in (tmp_path / "run", alone))
    assert ours.meta["objective"] == theirs.meta["objective"] == {"steps": 15}
    assert ours.tensors["objective"]["mean"].item() == pytest.approx(theirs.tensors["objective"]["mean"].item())


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(groups, settings, alone, tmp_path, parallel):
    config = settings(model=model(), objective=WEIGHTED, parallel=parallel)
    groups(settings=config, run=str(tmp_path / "whole"), world=2)
    groups(settings=config, run=str(tmp_path / "run"), world=2, stop=7)
    groups(settings=config, run=str(tmp_path / "run"), world=2, resume=True)
    for name in ("model.safetensors", "objective.safetensors"):
        assert (last(tmp_path / "run") / name).read_bytes() == (last(tmp_path / "whole") / name).read_bytes()
    groups(settings=config, run=str(tmp_path / "fewer"), world=2, stop=7)
    groups(settings=config, run=str(tmp_path / "fewer"), world=1, resume=True)
    same_lines(alone, tmp_path / "fewer")


def test_an_objective_may_run_the_model_more_than_once(groups, settings, same_curve, tmp_path):
    for name, world, parallel in (("one", 1, "ddp"), ("two", 2, "ddp"), ("shards", 2, "fsdp")):
        config = settings(model={"recall": []}, objective="toy-twice", parallel=parallel, accumulate=2)
        groups(settings=config, run=str(tmp_path / name), world=world)
    same_curve(tmp_path / "one", tmp_path / "two")
    same_curve(tmp_path / "one", tmp_path / "shards")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_number_that_is_none_ends_all_processes(groups, settings, tmp_path, parallel):
    config = settings(objective={"kind": "toy-broken", "what": "metric"}, parallel=parallel)
    answer = groups(settings=config, run=str(tmp_path / "run"), world=2, fails=True)
    assert answer["codes"] == [1, 1]
    assert all("objective.mine is not finite" in told["error"] for told in answer["told"]), answer


@pytest.fixture(scope="module")
def teacher(groups, settings, tmp_path_factory):
    run = tmp_path_factory.mktemp("teacher") / "run"
    groups(settings=settings(model={"recall": []}, symbols=128), run=str(run), world=1)
    return str(run)


@pytest.fixture(scope="module")
def distilled(groups, settings, teacher, tmp_path_factory):
    """The settings of a run whose objective is of two kinds that carry something, and that run in one process."""

    def config(parallel: str) -> str:
        own = {"kind": "nested+distil", "teacher": teacher, "hold": 4}
        return settings(model={"recall": []}, objective=own, parallel=parallel, accumulate=2)

    run = tmp_path_factory.mktemp("distilled") / "run"
    groups(settings=config("ddp"), run=str(run), world=1)
    return config, run


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_what_an_objective_carries_goes_along(groups, same_curve, distilled, tmp_path, parallel):
    config, one = distilled[0](parallel), distilled[1]
    groups(settings=config, run=str(tmp_path / "two"), world=2)
    same_curve(one, tmp_path / "two")
    for name, worlds in (("again", ((2, 7), (2, None))), ("others", ((2, 6), (1, 11), (2, None)))):
        for at, (world, stop) in enumerate(worlds):
            groups(settings=config, run=str(tmp_path / name), world=world, stop=stop, resume=at > 0)
        same_curve(one, tmp_path / name)
    whole, again = (last(tmp_path / name) / "model.safetensors" for name in ("two", "again"))
    assert whole.read_bytes() == again.read_bytes()
