"""Objective `distil` by module: blocks in the place of a small model's rounds, who learns, and the run around it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import toys  # noqa: F401  (registers a task)
from test_objectives import last, lines, stop_at, tensors

import inn
from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.data.streams import Batch
from inn.models.build import build_model
from inn.runs import checkpoint as checkpoints
from inn.system.errors import InputError
from inn.training.objectives.modules import Lessons, Stretch, assembled
from inn.training.trainer import fit

SIZE = {"neurons": 3, "width": 8, "rounds": 3}
WIDE = {**SIZE, "slots": 64}
SHAPES = {
    "inn": {**WIDE, "vocab": 9, "forget": 0.0},
    "attention": {**SIZE, "vocab": 9, "recall": [], "router": "attention", "topology": "ring", "readout": "mean"},
    "lag": {**SIZE, "vocab": 9, "recall": [], "memory": "gru", "router": {"kind": "dendrites", "lag": 1}},
    "signal": {**SIZE, "features": 2, "outputs": 4, "head": "classes", "pool": "mean"},
}


def made(name: str, seed: int = 0, **fields) -> Any:
    torch.manual_seed(seed)
    own = {key: value for key, value in {**SHAPES[name], **fields}.items() if value is not None}
    return build_model(model_config("signal" if name == "signal" else "inn", **own))


def batches(name: str):
    draw = torch.Generator().manual_seed(0)
    while True:
        if name == "signal":
            yield Batch(torch.randn(4, 6, 2, generator=draw), torch.randint(4, (4, 6), generator=draw), None)
        else:
            tokens = torch.randint(9, (4, 13), generator=draw)
            yield Batch(tokens[:, :-1], tokens[:, 1:], None)


@pytest.mark.parametrize("name", SHAPES)
def test_a_model_put_together_of_its_own_rounds_is_the_model(name):
    model = made(name).eval()
    with torch.no_grad():
        again = assembled(model, [Stretch(model.graph, [0, 1]), Stretch(model.graph, [2])], model)
        x, y = (next(batches(name)).inputs for _ in range(2))
        expected, state = model(x)
        found, own = again(x)
        assert torch.equal(found, expected)
        assert torch.equal(again(y, own)[0], model(y, state)[0])
    assert model.graph.config.rounds == 3
    assert next(iter(model.graph.rounds)) is next(iter(again.graph.rounds[0].rounds))


@pytest.mark.parametrize("name", ["inn", "signal"])
def test_a_block_in_its_own_place_tells_what_the_whole_tells_and_learns_alone(name):
    """With the teacher as the meta model and as the student all models are the teacher, until a block has learned."""
    teacher = made(name).eval().requires_grad_(False)
    student, seen = copy.deepcopy(teacher).requires_grad_(True), []

    def score(y: torch.Tensor, told: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append((y.detach(), told))
        return teacher.loss(y, batch.targets)

    config = TrainConfig(lr=1e-30, weight_decay=0.0)
    told = Lessons(student, teacher, copy.deepcopy(teacher), 3, 1, config, score).teach(batches(name))
    assert told.keys() == {"steps", "meta", "module.0", "module.1", "module.2"}
    assert told["steps"] == 4
    for (y, right), batch in zip(seen, batches(name)):
        expected = teacher(batch.inputs)[0]
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(right, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name, tied", [("inn", True), ("inn", False), ("signal", None)])
def test_every_block_learns_its_own_parts_and_nobody_else_does(name, tied):
    teacher = made(name, tied=tied).eval().requires_grad_(False)
    student = made(name, 1, neurons=2, width=6, tied=tied).train()
    known = copy.deepcopy(teacher.state_dict())
    changed: list[set[str]] = []

    class Watched(Lessons):
        def _lesson(self, *args: Any) -> float:
            old = {n: p.clone() for n, p in student.named_parameters()}
            found = super()._lesson(*args)
            changed.append({n for n, p in student.named_parameters() if not torch.equal(p, old[n])})
            return found

    def score(y: torch.Tensor, told: torch.Tensor, batch: Batch) -> torch.Tensor:
        return student.loss(y, batch.targets)

    Watched(student, teacher, None, 2, 2, TrainConfig(), score).teach(batches(name))
    meta, first, second = changed
    assert not meta
    assert not first & second
    assert first | second == {n for n, _ in student.named_parameters()}
    assert all("rounds.0" in n for n in first if "rounds" in n)
    assert not any("rounds.0" in n for n in second)
    assert any(n.startswith(("embedding", "input")) for n in first)
    assert any(n.startswith(("norm", "head")) for n in second)
    assert not any(n.startswith("norm") for n in first)
    assert all(torch.equal(t, known[n]) for n, t in teacher.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in student.parameters())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, text_file):
    """Three neurons of width 8, three rounds: wider and deeper than its students."""
    path = tmp_path_factory.mktemp("teacher") / "run"
    train = {"symbols": 64 * 20, "threads": 1, "sample_every": 0, "eval_symbols": 300, "lr": 1e-2, "eval_every": 100}
    data = DataConfig(corpus=f"file:{text_file}", batch=4, window=16)
    fit(RunConfig(model_config("inn", **WIDE), data, TrainConfig(**train)), path)
    return path


def test_a_wide_teacher_teaches_a_narrow_student_and_the_run_goes_on_as_it_was(tmp_path, tiny, teacher):
    own = {"kind": "distil", "teacher": str(teacher), "by": "module", "lessons": 8}
    config = tiny("inn", objective=own, lr=1e-2)
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "run", report=stop_at(4))
    fit(None, tmp_path / "run", resume=True)
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    told = [line for line in lines(tmp_path / "run") if line["event"] == "objective"]
    assert len(told) == 1
    assert told[0]["lessons.steps"] == 24
    assert {"lessons.meta", "lessons.module.0", "lessons.module.1"} <= told[0].keys()
    assert checkpoints.load(last(tmp_path / "run")).meta["objective"].keys() == {"teacher"}
    fit(tiny("inn", objective={**own, "by": "logits", "lessons": 200}, lr=1e-2), tmp_path / "logits")
    taught, plain = (
        next(x["bits"] for x in lines(tmp_path / n) if x["event"] == "validation") for n in ("run", "logits")
    )
    assert taught < plain - 0.1
    given = tiny("inn", model={"rounds": 3}, objective={**own, "meta": str(tmp_path / "run"), "modules": 3})
    with pytest.raises(InputError, match=r"meta '.*run' has 2 rounds, and needs one for each of 3 modules"):
        fit(given, tmp_path / "x")
    fit(tiny("inn", objective={**own, "meta": str(tmp_path / "logits"), "lessons": 1}, symbols=64), tmp_path / "given")


def test_what_cannot_be_taught_by_module_is_refused(tmp_path, tiny, teacher):
    own = {"kind": "distil", "teacher": str(teacher), "by": "module"}
    for kind, model, sentence in (
        ("lstm", {}, r"the model is of kind 'lstm', without a graph .*set train\.objective\.by logits"),
        ("inn", {"share_rounds": True}, "one set of weights for all rounds"),
        ("inn", {"rounds": 1}, "modules must be from 2 to the 1 rounds of the model, not 1"),
    ):
        with pytest.raises(InputError, match=sentence):
            fit(tiny(kind, model=model, objective=own), tmp_path / "run")
    with pytest.raises(InputError, match=r"lessons does nothing with by 'logits'; set by module"):
        tiny("inn", objective={**own, "by": "logits", "lessons": 3})
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_signal_is_taught_by_module_and_stacked(tmp_path):
    fields = {"neurons": 2, "width": 8, "rounds": 2}

    def config(objective: Any = "predict", **model: Any):
        train = {"symbols": 200, "threads": 1, "sample_every": 0, "eval_symbols": 100, "objective": objective}
        own = DataConfig(corpus="task:toy-wave", batch=8, task={"kind": "toy-wave"})
        return RunConfig(model_config("signal", **{**fields, **model}), own, TrainConfig(**train))

    fit(config(neurons=3), tmp_path / "a")
    own = {"kind": "nested+distil", "teacher": str(tmp_path / "a"), "by": "module", "lessons": 2}
    fit(config(own), tmp_path / "b")
    assert [x["lessons.steps"] for x in lines(tmp_path / "b") if x["event"] == "objective"] == [6.0]
    assert inn.load(tmp_path / "b").graph.config.rounds == 2


def test_the_divergence_in_lessons_is_a_mean_over_logits(teacher, tiny, tmp_path, monkeypatch):
    seen: list[Lessons] = []
    monkeypatch.setattr(Lessons, "teach", lambda self, batches: seen.append(self) or {"steps": 1.0})
    own = {"kind": "distil", "teacher": str(teacher), "by": "module", "weight": 0.3, "temperature": 2.0}
    fit(tiny("inn", objective=own, symbols=64), tmp_path / "run")
    (lessons,) = seen
    torch.manual_seed(0)
    y, told, targets = torch.randn(2, 3, 5), torch.randn(2, 3, 5), torch.randint(5, (2, 3))
    p, q = (t.double().div(2).log_softmax(-1) for t in (told, y))
    expected = 0.7 * lessons.student.loss(y, targets) + 0.3 * 4 * (p.exp() * (p - q)).sum() / 5
    assert float(lessons.score(y, told, Batch(y, targets, None))) == pytest.approx(float(expected), rel=1e-5)
    assert (lessons.blocks, lessons.steps, lessons.meta) == (2, 200, None)
