"""Objective `distil`: its loss, the teacher's state, whom it can learn from, and that a run goes on as it was."""

from __future__ import annotations

import math
import shutil
from typing import Any

import pytest
import torch
import toys  # noqa: F401  (registers a task)
from test_objectives import last, lines, stop_at, tensors

import inn
from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.models.build import build_model
from inn.runs import checkpoint as checkpoints
from inn.system.errors import InputError
from inn.training.objectives.distil import divergence
from inn.training.optim import build_optimizer
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper
from inn.training.trainer import fit


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, text_file):
    path = tmp_path_factory.mktemp("teacher") / "run"
    fields = {"neurons": 2, "width": 8, "rounds": 1, "slots": 64, "dropout": 0.1}
    train = {"symbols": 64 * 4, "threads": 1, "sample_every": 0, "eval_symbols": 300}
    data = DataConfig(corpus=f"file:{text_file}", batch=4, window=16)
    fit(RunConfig(model_config("inn", **fields), data, TrainConfig(**train)), path)
    return path


def student(teacher, **options) -> Any:
    torch.manual_seed(0)
    model = build_model(
        model_config("inn", vocab=inn.load(teacher).config.vocab, neurons=1, width=8, rounds=1, recall=[])
    )
    config = TrainConfig(clip=0.0, objective={"kind": "distil", "teacher": str(teacher), **options})
    return Stepper(SingleDevice(model.train()), build_optimizer(model, config), config, carry=True, steps=8)


def test_the_divergence_is_a_sum_over_targets_and_symbols():
    torch.manual_seed(0)
    y, told, weights = torch.randn(2, 3, 5), torch.randn(2, 3, 5), [1.0, 0.5]
    targets = torch.tensor([[1, -100, 2], [0, 3, 4]])
    expected = 0.0
    for b in range(2):
        for t in range(3):
            if targets[b, t] >= 0:
                p, q = ((x[b, t].double() / 2).softmax(-1) for x in (told, y))
                expected += weights[b] * sum(float(p[v]) * math.log(float(p[v] / q[v])) for v in range(5))
    told[0, 1] = torch.nan  # does not count
    assert float(divergence(y, told, targets, 2.0, torch.tensor(weights))) == pytest.approx(expected, rel=1e-5)


def test_the_loss_mixes_both_and_the_teacher_reads_on_in_evaluation(teacher):
    step, known = student(teacher, weight=0.3, temperature=2.0), inn.load(teacher)
    tokens, carried = torch.randint(11, (4, 25), generator=torch.Generator().manual_seed(1)), None
    reset = torch.tensor([False, True, False, False])
    starts = torch.zeros(4, 12, dtype=torch.bool)
    starts[:, 0] = reset
    theirs = ours = None
    for number in (0, 1):
        part = tokens[:, 12 * number : 12 * number + 13]
        with torch.no_grad():
            told, theirs = known(part[:, :-1], theirs, reset=starts)
            y, ours = step.model(part[:, :-1], ours, reset=starts)
        hard = step.model.loss(y, part[:, 1:]) / 48
        soft = divergence(y, told, part[:, 1:], 2.0) / 48
        result = step(part[:, :-1], part[:, 1:], reset, carried, 0.0, number + 1)
        carried = result.state
        assert result.loss == pytest.approx(float(0.7 * hard + 0.3 * 4 * soft), rel=1e-5)
        assert result.metrics == pytest.approx({"nats": float(hard), "divergence": float(soft)}, rel=1e-5)
    assert not any(p.requires_grad for p in step.objective.teacher.parameters())
    for (r, part), t in theirs.items():
        torch.testing.assert_close(carried[r, f"teacher:{part}"], t)


@pytest.mark.parametrize("kind", ["lstm", "inn"])
def test_a_run_that_was_stopped_and_resumed_is_the_one_that_was_not(tmp_path, tiny, teacher, kind):
    config = tiny(kind, objective={"kind": "distil", "teacher": str(teacher)}, accumulate=2)
    fit(config, tmp_path / "whole")
    for resume, stop in ((False, 4), (True, 9)):
        fit(config, tmp_path / "run", resume=resume, report=stop_at(stop))
    fit(None, tmp_path / "run", resume=True)
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    assert {"objective.nats", "objective.divergence"} <= lines(tmp_path / "run")[0].keys()
    found = checkpoints.load(last(tmp_path / "run"))
    assert found.meta["objective"].keys() == {"teacher"}
    assert found.tensors["objective"] == {}
    assert found.tensors["model"].keys() == {*inn.load(tmp_path / "run").state_dict()} or kind == "inn"


def test_another_teacher_is_refused_when_a_run_goes_on(tmp_path, tiny, teacher):
    own = tmp_path / "teacher"
    shutil.copytree(teacher, own)
    fit(tiny("lstm", objective={"kind": "distil", "teacher": str(own)}), tmp_path / "run", report=stop_at(4))
    shutil.rmtree(own)
    with pytest.raises(InputError, match="teacher"):
        fit(None, tmp_path / "run", resume=True)
    config = tiny("inn", model={"neurons": 3}, symbols=64 * 2)
    fit(config, own)
    with pytest.raises(InputError, match="is not the model that this run has learned from"):
        fit(None, tmp_path / "run", resume=True)
    settings = tmp_path / "run" / "config.yaml"
    settings.write_text(settings.read_text().replace(str(own), str(teacher)))  # it is elsewhere now
    assert fit(None, tmp_path / "run", resume=True)["status"] == "finished"


def test_what_cannot_be_learned_from_is_refused(tmp_path, tiny, teacher):
    with pytest.raises(InputError, match=r"needs a model to learn from; set train\.objective\.teacher to a run"):
        fit(tiny("lstm", objective="distil"), tmp_path / "run")
    other = tmp_path / "other.txt"
    other.write_text("ABCDEFGH\n" * 2000)
    given = {"kind": "distil", "teacher": str(teacher)}
    with pytest.raises(InputError, match=r"tells apart 19 symbols or classes, and the model 9"):
        fit(tiny("lstm", objective=given, data={"corpus": f"file:{other}"}), tmp_path / "run")
    other.write_text("ABCDEFGHIJKLMNOPQR\n" * 1000)
    with pytest.raises(InputError, match=r"has other symbols .*set data\.tokenizer"):
        fit(tiny("lstm", objective=given, data={"corpus": f"file:{other}"}), tmp_path / "run")
    with pytest.raises(InputError, match="is not a run"):
        fit(tiny("lstm", objective={"kind": "distil", "teacher": str(tmp_path / "none")}), tmp_path / "run")
    for option, sentence in (("weight", r"weight must be in \(0, 1\]"), ("temperature", "must be above 0")):
        with pytest.raises(InputError, match=sentence):
            tiny("lstm", objective={**given, option: 0.0})
    assert not (tmp_path / "run").exists()


def test_a_signal_is_learned_from_as_well(tmp_path, tiny):
    fields = {"neurons": 2, "width": 8, "rounds": 1}

    def config(objective: Any = "predict", told: str = "classes"):
        train = {"symbols": 400, "threads": 1, "sample_every": 0, "eval_symbols": 100, "objective": objective}
        own = DataConfig(corpus="task:toy-wave", batch=8, task={"kind": "toy-wave", "told": told})
        head = {} if told == "classes" else {"head": "next" if told == "next" else told}
        return RunConfig(model_config("signal", **fields, **head), own, TrainConfig(**train))

    fit(config(), tmp_path / "a")
    fit(config({"kind": "distil", "teacher": str(tmp_path / "a")}), tmp_path / "b")
    with pytest.raises(InputError, match="needs probabilities of symbols or classes, and the model tells 'values'"):
        fit(config({"kind": "distil", "teacher": str(tmp_path / "a")}, "values"), tmp_path / "c")
