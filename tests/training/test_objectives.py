"""Objectives of one's own: their hooks, their state in checkpoints, and what they make of a step."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
import toys
import yaml

import inn
from inn.config.assemble import model_config
from inn.config.run import RunConfig, TrainConfig
from inn.config.settings import resolve
from inn.data.examples import IGNORED
from inn.models.build import build_model
from inn.registry import OBJECTIVES
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.system.errors import InputError
from inn.training import events
from inn.training.finite import TrainingDiverged
from inn.training.objectives.base import MicroBatch
from inn.training.objectives.predict import Predict
from inn.training.optim import build_optimizer
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper, trim
from inn.training.trainer import fit

WEIGHTED = {"kind": "toy-weighted", "rate": 0.8}


def stop_at(step: int):
    def report(event: events.Event) -> None:
        if isinstance(event, events.Progress) and event.step == step:
            raise_signal()

    return report


def raise_signal() -> None:
    import signal

    signal.raise_signal(signal.SIGTERM)


def last(run):
    folder = run / "checkpoints"
    return folder / checkpoints.name_of(checkpoints.steps(folder)[-1])


def tensors(run) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in last(run).glob("*.safetensors")}


def lines(run) -> list[dict]:
    return [{k: v for k, v in line.items() if k not in ("time", "symbols_per_s")} for line in Run(run).metrics()]


def stepper(kind: str = "lstm", **settings) -> Stepper:
    torch.manual_seed(0)
    fields = {"lstm": {"width": 8}, "inn": {"neurons": 2, "width": 8, "rounds": 2, "slots": 64}}[kind]
    model = build_model(model_config(kind, vocab=11, **fields))
    config = TrainConfig(**{"clip": 0.0, **settings})
    return Stepper(SingleDevice(model), build_optimizer(model, config), config, carry=True)


def batch(rows: int = 4, window: int = 12):
    tokens = torch.randint(11, (rows, window + 1), generator=torch.Generator().manual_seed(0))
    return tokens[:, :-1], tokens[:, 1:]


def test_the_default_is_to_predict_the_next_symbol():
    step = stepper()
    assert type(step.objective) is Predict
    inputs, targets = batch()
    result = step(inputs, targets, None, None, 0.0, 1)
    expected = F.cross_entropy(step.model(inputs)[0].flatten(0, 1), targets.flatten()).item()
    assert result.loss == pytest.approx(expected, rel=1e-6)
    assert (result.penalty, result.penalties, result.metrics) == (0.0, {}, {})


def test_hooks_are_called_around_the_passes_of_every_step():
    step = stepper(objective=WEIGHTED, accumulate=2)
    toys.Weighted.calls.clear()
    for number in (1, 2):
        step(*batch(), None, None, 1e-3, number)
    of_one = [("loss", 2), ("loss", 2)]
    assert toys.Weighted.calls == [("before", 1), *of_one, ("after", 1), ("before", 2), *of_one, ("after", 2)]
    assert step.objective.steps == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["lstm", "inn"])
@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_gradients_are_those_of_the_whole_batch(kind, accumulate):
    found = []
    for n in (1, accumulate):
        step = stepper(kind, objective=WEIGHTED, accumulate=n)
        result = step(*trim(*batch(), 43), None, None, 0.0, 1)
        gradients = torch.cat([p.grad.flatten() for p in step.model.parameters() if p.grad is not None])
        found.append((result, gradients))
    (one, gradients), (many, gradients2) = found
    torch.testing.assert_close(gradients, gradients2, rtol=0, atol=1e-6)
    assert many.loss == pytest.approx(one.loss, rel=1e-6)
    assert many.penalties == pytest.approx(one.penalties, rel=1e-6)
    assert many.metrics == pytest.approx(one.metrics, rel=1e-6)
    assert one.metrics["hits"] * 43 == pytest.approx(round(one.metrics["hits"] * 43), abs=1e-4)


def test_a_penalty_of_the_objective_counts_once_whatever_the_rows():
    for accumulate in (1, 4):
        step = stepper(objective=WEIGHTED, accumulate=accumulate)
        biases = [p for name, p in step.model.named_parameters() if name.endswith("bias")]
        expected = 0.1 * sum(p.square().mean().item() for p in biases)
        result = step(*batch(), None, None, 0.0, 1)
        assert result.penalties == {"size": pytest.approx(expected, rel=1e-6)}
        assert result.penalty == pytest.approx(expected, rel=1e-6)


def test_the_forward_pass_is_under_autocast_and_the_rest_is_not():
    seen = []

    class Looks(Predict):
        def loss(self, batch):
            logits, _ = self.forward(batch.inputs, batch.state, reset=batch.reset)
            seen.append((logits.dtype, (torch.ones(2, 2) @ torch.ones(2, 2)).dtype))
            return super().loss(batch)

    step = stepper("inn", dtype="bfloat16")
    step.objective = Looks(step.config.objective, step.objective.context, step.config)
    step(*batch(), None, None, 1e-3, 1)
    assert seen == [(torch.bfloat16, torch.float32)]


def test_random_numbers_of_a_step_are_the_same_whenever_they_are_asked_for():
    objective = stepper(objective=WEIGHTED, seed=3).objective
    first, again, other = (torch.rand(4, generator=objective.generator(step)) for step in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    mine = torch.rand(4, generator=stepper(objective=WEIGHTED, seed=4).objective.generator(7))
    assert not torch.equal(first, mine)


@pytest.mark.parametrize("kind", ["lstm", "inn"])
def test_a_run_that_was_stopped_and_resumed_is_the_one_that_was_not(tmp_path, tiny, kind):
    config = tiny(kind, objective=WEIGHTED)
    fit(config, tmp_path / "whole")
    for resume, stop in ((False, 4), (True, 10)):
        assert fit(config, tmp_path / "run", resume=resume, report=stop_at(stop))["status"] == "stopped"
    fit(None, tmp_path / "run", resume=True)
    whole = tensors(tmp_path / "whole")
    assert "objective.safetensors" in whole
    assert tensors(tmp_path / "run") == whole
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    found = checkpoints.load(last(tmp_path / "run"))
    assert found.meta["objective"] == {"steps": 12}
    assert found.tensors["objective"]["mean"].item() != 1.0
    inn.load(tmp_path / "run")


def test_logs_have_what_the_objective_measures_by_name(tmp_path, tiny):
    told: list[events.Event] = []
    fit(tiny("lstm", objective=WEIGHTED, log_every=4), tmp_path / "coarse", report=told.append)
    fit(tiny("lstm", objective=WEIGHTED, log_every=1), tmp_path / "fine")
    names = ("penalty.size", "objective.hits", "objective.nats", "penalty")
    fine = {line["step"]: line for line in lines(tmp_path / "fine") if line["event"] == "train"}
    coarse = [line for line in lines(tmp_path / "coarse") if line["event"] == "train"]
    assert [line["step"] for line in coarse] == [4, 8, 12]
    for line in coarse:
        assert 0 <= line["objective.hits"] <= 1
        for name in names:
            weights = {step: 30 if step == 12 else 64 for step in range(line["step"] - 3, line["step"] + 1)}
            mean = sum(fine[s][name] * w for s, w in weights.items()) / sum(weights.values())
            assert line[name] == pytest.approx(mean, rel=1e-5), name
    progress = next(event for event in told if isinstance(event, events.Progress))
    assert progress.named == {name: coarse[0][name] for name in sorted(names[:3], reverse=True)}


def test_recomputing_rounds_gives_the_same_run(tmp_path, tiny):
    for name, again in (("a", False), ("b", True)):
        fit(tiny("inn", objective=WEIGHTED, checkpoint_rounds=again), tmp_path / name)
    assert tensors(tmp_path / "a") == tensors(tmp_path / "b")


@pytest.mark.parametrize(
    "what, sentence",
    [
        ("loss", "loss is not finite; the first to break was something that a second pass"),
        ("penalty", "penalty is not finite; the first to break was something that a second pass"),
        ("metric", r"objective\.mine is not finite; the first to break was what objective 'toy-broken' measures"),
    ],
)
def test_what_is_no_number_stops_the_run_before_weights_change(tmp_path, tiny, what, sentence):
    config = tiny("lstm", objective={"kind": "toy-broken", "what": what}, checkpoint_every=4)
    with pytest.raises(TrainingDiverged, match=f"diverged at step 5: {sentence}.*step 4 is kept"):
        fit(config, tmp_path / "run")
    for line in lines(tmp_path / "run"):
        assert all(math.isfinite(value) for value in line.values() if isinstance(value, float))
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["step"] == 4


def test_checkpoints_from_before_there_were_objectives_go_on(tmp_path, tiny):
    fit(tiny("lstm"), tmp_path / "whole")
    fit(tiny("lstm"), tmp_path / "run", report=stop_at(5))
    path = tmp_path / "run" / "config.yaml"
    tree = yaml.safe_load(path.read_text())
    assert tree["train"].pop("objective") == {"kind": "predict"}
    path.write_text(yaml.safe_dump(tree))
    record = json.loads((last(tmp_path / "run") / "checkpoint.json").read_text())
    assert "objective" not in record
    del record["standing"]["tally"]["named"]
    record["sha256"] = checkpoints._digest(record)
    (last(tmp_path / "run") / "checkpoint.json").write_text(json.dumps(record))
    fit(None, tmp_path / "run", resume=True)
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")


def test_an_objective_is_chosen_by_name_and_has_its_own_options(tiny, tmp_path):
    assert "predict" in OBJECTIVES
    given = ["--train.objective", "toy-weighted", "--train.objective.rate", "0.25"]
    config = resolve("demo", given).config.train.objective
    assert (config.kind, config.rate) == ("toy-weighted", 0.25)
    assert resolve("demo").config.train.objective.kind == "predict"
    with pytest.raises(InputError, match=r"cannot be 'toy-weihgted'; did you mean 'toy-weighted'"):
        resolve("demo", ["--train.objective", "toy-weihgted"])
    with pytest.raises(InputError, match=r"train\.objective\.rate|option 'rate'"):
        resolve("demo", ["--train.objective.rate", "0.25"])
    tree = tiny("lstm", objective=WEIGHTED).to_dict()
    assert tree["train"]["objective"] == {"kind": "toy-weighted", "from": "module toys", "rate": 0.8}
    assert RunConfig.from_dict(tree).train.objective.rate == 0.8
    with pytest.raises(InputError, match="was registered by module elsewhere; import that first"):
        tiny("lstm", objective={"kind": "mine", "from": "module elsewhere"})


def test_a_model_loads_where_its_objective_is_not_there_any_more(tmp_path, tiny, monkeypatch):
    fit(tiny("lstm", objective=WEIGHTED, symbols=64), tmp_path / "run")
    monkeypatch.delitem(OBJECTIVES._registered, "toy-weighted")
    assert inn.load(tmp_path / "run").num_parameters > 0
    with pytest.raises(InputError, match="'toy-weighted' was registered by module toys; import that first"):
        fit(None, tmp_path / "run", resume=True)


def test_a_model_that_is_counted_has_no_objective(tmp_path, tiny):
    with pytest.raises(InputError, match=r"'ngram' is fitted by counting.*leave train\.objective out"):
        fit(tiny("ngram", objective=WEIGHTED), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_expected_where_nothing_counts_reaches_no_gradient():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    targets = torch.tensor([[1, IGNORED, 2], [IGNORED, 3, 4]])
    found = []
    for junk in (0.0, torch.nan):
        shown = logits.masked_fill((targets == IGNORED)[..., None], junk) + logits * 0
        objective = Predict.__new__(Predict)
        objective.model = inn.build_model(inn.model_config("ngram", vocab=5))
        objective.forward = lambda *_, shown=shown, **__: (shown, inn.State({}))
        nats = objective.loss(MicroBatch(targets.clamp(min=0), targets)).nats
        found.append((nats, *torch.autograd.grad(nats, logits)))
    torch.testing.assert_close(found[1], found[0])
