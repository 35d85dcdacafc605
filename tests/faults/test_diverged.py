"""Numbers that are none: the run stops, names where it began, and keeps what was good."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inn.inference.evaluate import Score
from inn.models.build import build_model
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.system.errors import InputError
from inn.training import events, trainer, validation
from inn.training.finite import not_finite, not_finite_state
from inn.training.trainer import TrainingDiverged, fit


class Break:
    """Builds models in which a module (or a gradient) turns bad in the training pass of a given step."""

    def __init__(self, module: str, step: int, value: float = float("nan"), gradient: bool = False):
        self.module, self.step, self.value, self.gradient = module, step, value, gradient
        self.passes = 0

    def __call__(self, config):
        model = build_model(config)
        model.register_forward_pre_hook(self.count)
        if self.gradient:
            model.get_parameter(self.module).register_hook(self.spoil)
        else:
            model.get_submodule(self.module).register_forward_hook(lambda m, args, out: self.spoil_output(m, out))
        return model

    def count(self, model, args) -> None:
        self.passes += model.training

    def spoil(self, t: Tensor) -> Tensor:
        if self.passes < self.step:
            return t
        return t + self.value

    def spoil_output(self, module, output):
        if not module.training:
            return output
        return (self.spoil(output[0]), *output[1:]) if isinstance(output, tuple) else self.spoil(output)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "kind, module",
    [("inn", "backbone.rounds.0.memory"), ("inn", "norm"), ("lstm", "embedding"), ("lstm", "head")],
)
def test_the_module_and_the_step_are_named_and_the_last_good_checkpoint_stays(
    tmp_path, tiny, monkeypatch, kind, module, value
):
    monkeypatch.setattr(trainer, "build_model", Break(module, 8, value))
    with pytest.raises(TrainingDiverged) as caught:
        fit(tiny(kind), tmp_path / "run")
    message = str(caught.value)
    assert isinstance(caught.value, InputError)
    assert "at step 8" in message
    assert f"module '{module}'" in message
    assert "the checkpoint of step 6 is kept" in message
    folder = tmp_path / "run" / "checkpoints"
    assert checkpoints.steps(folder) == [4, 6]
    for step in (4, 6):
        tensors = checkpoints.load(folder / checkpoints.name_of(step)).tensors
        assert not_finite({**tensors["model"], **tensors["optimizer"], **tensors["state"]}) is None
    summary = Run(tmp_path / "run").summary()
    assert summary is not None
    assert summary["status"] == "diverged"
    assert summary["error"] == message
    assert summary["step"] == 7


def test_a_bad_gradient_is_named_by_its_parameter(tmp_path, tiny, monkeypatch):
    model = build_model(tiny("inn").model)
    name = next(n for n, _ in model.named_parameters() if n.startswith("backbone.rounds.0.memory"))
    monkeypatch.setattr(trainer, "build_model", Break(name, 5, gradient=True))
    with pytest.raises(TrainingDiverged, match=f"step 5: gradient norm is not finite.*gradient of '{name}'"):
        fit(tiny("inn"), tmp_path / "run")


def test_a_gradient_too_large_to_square_is_named(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(trainer, "build_model", Break("head.bias", 5, value=1e30, gradient=True))
    with pytest.raises(TrainingDiverged, match=r"the gradient of 'head\.bias', too large to square"):
        fit(tiny("lstm"), tmp_path / "run")


def test_a_penalty_that_is_no_number_stops_the_run(tmp_path, tiny, monkeypatch):
    def build(config):
        def costly(*args, **options):
            logits, state = forward(*args, **options)
            return logits, State(state, {"rate": torch.tensor(float("nan"))})

        model = build_model(config)
        forward, model.forward = model.forward, costly
        return model

    monkeypatch.setattr(trainer, "build_model", build)
    with pytest.raises(TrainingDiverged, match=r"at step 1: penalty is not finite.*no checkpoint had been written"):
        fit(tiny("lstm"), tmp_path / "run")


def test_nothing_that_is_not_finite_is_saved(tmp_path, tiny, monkeypatch):
    """Weights can break after a step whose loss and gradient were fine: they are looked at before they are written."""
    models = []

    def build(config):
        models.append(build_model(config))
        return models[-1]

    def spoil(event: events.Event) -> None:
        if isinstance(event, events.Progress) and event.step == 8:
            with torch.no_grad():
                models[0].head.bias[0] = float("inf")

    monkeypatch.setattr(trainer, "build_model", build)
    with pytest.raises(TrainingDiverged, match=r"step 8: 'head\.bias' is not finite; the checkpoint of step 6 is kept"):
        fit(tiny("lstm"), tmp_path / "run", report=spoil)
    assert checkpoints.steps(tmp_path / "run" / "checkpoints") == [4, 6]


def test_a_validation_loss_that_is_no_number_stops_the_run(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(validation, "validate", lambda *args: Score(float("nan"), 10))
    with pytest.raises(TrainingDiverged, match=r"step 6: the validation loss is nan; the checkpoint of step 4 is kept"):
        fit(tiny("lstm"), tmp_path / "run")


def test_the_second_look_sees_the_same_random_numbers(tmp_path, tiny, monkeypatch):
    """What broke under one dropout mask may not break under the next."""

    def build(config):
        def unlucky(module, args, output):
            return output + float("nan") if module.training and torch.rand(()) > 0.8 else output

        model = build_model(config)
        model.get_submodule("embedding").register_forward_hook(unlucky)
        return model

    monkeypatch.setattr(trainer, "build_model", build)
    for seed in range(5):
        with pytest.raises(TrainingDiverged, match="the output of module 'embedding'"):
            fit(tiny("lstm", seed=seed), tmp_path / f"run-{seed}")


def test_a_bad_weight_or_state_before_the_step_is_named():
    assert not_finite({"a": torch.zeros(2), "b": torch.tensor([1.0, float("nan")])}) == "b"
    assert not_finite({"count": torch.tensor([1, 2])}) is None
    assert not_finite_state(State({(0, "max"): torch.tensor([[float("-inf")]])})) is None
    assert not_finite_state(State({(1, "ssm"): torch.tensor([[float("inf")]])})) == "round 1, ssm"


def test_a_diverged_run_can_be_resumed_from_its_last_good_checkpoint(tmp_path, tiny, whole, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "build_model", Break("head", 9))
        with pytest.raises(TrainingDiverged):
            fit(tiny("lstm"), tmp_path / "run")
    fit(None, tmp_path / "run", resume=True)
    last = "checkpoints/step-00000030/model.safetensors"
    assert (tmp_path / "run" / last).read_bytes() == (whole / last).read_bytes()
