"""Objectives together: each of them does its part, and a run goes on as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import toys
from test_distil import teacher  # noqa: F401  (a fixture)
from test_objectives import batch, last, lines, stop_at, tensors

import inn
from inn.analysis import kept
from inn.config.assemble import model_config
from inn.config.parts import Options as PartOptions
from inn.config.run import RunConfig, TrainConfig
from inn.config.settings import resolve
from inn.models.build import build_model
from inn.registry import OBJECTIVES
from inn.runs import checkpoint as checkpoints
from inn.system.errors import InputError
from inn.training.objectives.distil import divergence
from inn.training.optim import build_optimizer
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper
from inn.training.trainer import fit


class Every(toys.Twice):
    @dataclass
    class Options(PartOptions):
        every: int = 3


def stepper(vocab: int = 11, **objective) -> Any:
    torch.manual_seed(0)
    fields = {"neurons": 6, "width": 4, "rounds": 2, "recall": [], "topology": {"kind": "rewired", "density": 0.5}}
    model = build_model(model_config("inn", vocab=vocab, **fields)).train()
    config = TrainConfig(clip=0.0, objective=objective)
    return Stepper(SingleDevice(model), build_optimizer(model, config), config, carry=True, steps=8)


def test_names_and_options_are_those_of_all():
    given = ["--train.objective", "nested+rewire", "--train.objective.sizes", "[1,2]", "--train.every", "7"]
    found = resolve("demo", given).config.train.objective
    assert (found.kind, found.sizes, found.every) == ("nested+rewire", [1, 2], 7)
    assert {"nested+rewire", "rewire+predict"} <= {n for n in ("nested+rewire", "rewire+predict") if n in OBJECTIVES}
    assert OBJECTIVES.origin("nested+rewire") == "built in"
    tree = TrainConfig(objective={"kind": "rewire+toy-weighted", "rate": 0.7})
    assert OBJECTIVES.origin(tree.objective.kind) == "module toys"
    with pytest.raises(InputError, match="unknown objective 'nestd'; did you mean 'nested'"):
        TrainConfig(objective="rewire+nestd")
    with pytest.raises(InputError, match=r"'nested\+nested' names one of them twice"):
        TrainConfig(objective="nested+nested")
    with pytest.raises(InputError, match="hold must be at least 1"):
        TrainConfig(objective={"kind": "rewire+nested", "hold": 0})
    with pytest.raises(InputError, match="every must be at least 1"):
        TrainConfig(objective={"kind": "rewire+nested", "every": 0})
    with pytest.raises(InputError, match="option 'teacher' belongs to objective 'distil', not 'nested\\+rewire'"):
        TrainConfig(objective={"kind": "nested+rewire", "teacher": "x"})


def test_two_that_say_what_the_loss_is_are_refused():
    with pytest.raises(InputError, match="'toy-weighted' and 'toy-twice' both say what the loss is; use one of them"):
        stepper(kind="toy-weighted+toy-twice")
    with (
        OBJECTIVES.lent("toy-every", Every),
        pytest.raises(InputError, match="'rewire' and 'toy-every' both have an option 'every'"),
    ):
        TrainConfig(objective="rewire+toy-every")


def test_every_size_learns_from_the_teacher(teacher):  # noqa: F811
    step = stepper(inn.load(teacher).config.vocab, kind="nested+distil", sizes=[2], teacher=str(teacher), weight=0.4)
    inputs, targets = batch()
    told, expected = step.objective.parts["distil"].teacher(inputs)[0], []
    for size in (6, 2):
        with kept(step.model, range(size)), torch.no_grad():
            y, _ = step.model(inputs)
        expected.append(0.6 * step.model.loss(y, targets) + 0.4 * divergence(y, told, targets))
    result = step(inputs, targets, None, None, 1e-2, 1)
    assert result.loss == pytest.approx(float(torch.stack(expected).mean()) / targets.numel(), rel=1e-5)
    assert {part.partition(":")[0] for _, part in result.state if ":" in part} == {"size.2", "teacher"}
    again = step(inputs, targets, None, result.state, 1e-2, 2)
    assert set(again.state) == set(result.state)


def test_edges_move_beside_any_loss():
    step = stepper(kind="rewire+nested+toy-weighted", every=2, share=0.3, sizes=[3], until=1.0)
    toys.Weighted.calls.clear()
    before = step.model.graph.edge_sources.clone()
    for number in (1, 2):
        step(*batch(), None, None, 1e-2, number)
    assert [what for what, _ in toys.Weighted.calls] == ["before", "loss", "loss", "after"] * 2
    assert not torch.equal(before, step.model.graph.edge_sources)


@pytest.mark.parametrize("kind", ["nested+distil+rewire", "distil+rewire"])
def test_a_run_that_was_stopped_and_resumed_is_the_one_that_was_not(tmp_path, tiny, teacher, kind):  # noqa: F811
    options = {"neurons": 4, "topology": {"kind": "rewired", "density": 0.5}}
    own = {"kind": kind, "teacher": str(teacher), "every": 2, **({"hold": 2} if "nested" in kind else {})}
    config = tiny("inn", model=options, objective=own)
    assert RunConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
    fit(config, tmp_path / "whole")
    for resume, stop in ((False, 4), (True, 9)):
        fit(config, tmp_path / "run", resume=resume, report=stop_at(stop))
    fit(None, tmp_path / "run", resume=True)
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    assert checkpoints.load(last(tmp_path / "run")).meta["objective"].keys() == {"distil.teacher"}
