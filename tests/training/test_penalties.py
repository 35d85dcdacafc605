"""What parts of a model add to the loss: the same, by name, however a step is cut up."""

from __future__ import annotations

import pytest
import torch
import toys  # noqa: F401  (registers the memory)

from inn.config.assemble import model_config
from inn.config.run import TrainConfig
from inn.models.build import build_model
from inn.runs.directory import Run
from inn.training import building
from inn.training.optim import build_optimizer
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper
from inn.training.trainer import fit

LEAKY = {"memory": "toy-leaky", "neurons": 2, "width": 8, "rounds": 2, "recall": []}
GATED = {**LEAKY, "gate": "soft", "gate_penalty": 0.3}


def take_step(model: dict, again: bool = False, **settings):
    """The result and the gradients of a step on 8 rows."""
    torch.manual_seed(0)
    built = build_model(model_config("inn", vocab=11, **model))
    config = TrainConfig(**{"clip": 0.0, **settings})
    if again:
        building.checkpoint_rounds(built)
    step = Stepper(SingleDevice(built), build_optimizer(built, config), config, carry=True)
    tokens = torch.randint(11, (8, 13), generator=torch.Generator().manual_seed(0))
    result = step(tokens[:, :-1], tokens[:, 1:], None, None, 0.0, 1)
    return result, {name: p.grad.clone() for name, p in built.named_parameters() if p.grad is not None}, built


def test_each_has_its_name_and_they_add_up():
    result, _, model = take_step(GATED)
    assert set(result.penalties) == {"gate", "rate"}
    assert all(value > 0 for value in result.penalties.values())
    assert result.penalty == pytest.approx(sum(result.penalties.values()), rel=1e-6)
    tokens = torch.randint(11, (8, 13), generator=torch.Generator().manual_seed(0))[:, :-1]
    _, state = model(tokens)
    assert result.penalties == pytest.approx({n: p.item() for n, p in state.penalties.items()}, rel=1e-5)


def test_its_gradient_is_in_the_step():
    _, with_penalty, _ = take_step(GATED)
    _, without, _ = take_step({**GATED, "gate": "none", "gate_penalty": 0.0})
    name = next(n for n in without if n.endswith("memory.keep"))
    assert not torch.allclose(with_penalty[name], without[name])


@pytest.mark.parametrize("options", [{"again": True}, {"accumulate": 4}, {"accumulate": 4, "again": True}])
def test_value_and_gradient_are_the_same_however_a_step_is_made(options):
    whole, gradients, _ = take_step(GATED)
    cut, gradients2, _ = take_step(GATED, **options)
    assert cut.penalties == pytest.approx(whole.penalties, rel=1e-6)
    assert cut.penalty == pytest.approx(whole.penalty, rel=1e-6)
    assert gradients.keys() == gradients2.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients2[name], rtol=1e-4, atol=1e-7, msg=name)


def test_bfloat16():
    exact, _, _ = take_step(GATED)
    result, _, _ = take_step(GATED, dtype="bfloat16")
    assert result.penalties == pytest.approx(exact.penalties, rel=0.02)


def test_logs_have_them_by_name(tmp_path, tiny):
    model = {**GATED, "dropout": 0.0}
    for name, settings in (("one", {}), ("rounds", {"checkpoint_rounds": True}), ("four", {"accumulate": 4})):
        fit(tiny("inn", model=model, **settings), tmp_path / name)
    fit(tiny("inn", model={"dropout": 0.0}), tmp_path / "none")
    one, rounds, four, none = (
        [line for line in Run(tmp_path / name).metrics() if line["event"] == "train"]
        for name in ("one", "rounds", "four", "none")
    )
    for a, b, c in zip(one, rounds, four, strict=True):
        assert a["penalty"] == pytest.approx(a["penalty.rate"] + a["penalty.gate"], rel=1e-6)
        for name in ("penalty", "penalty.rate", "penalty.gate"):
            assert b[name] == a[name]
            assert c[name] == pytest.approx(a[name], rel=1e-4)
    assert all(line["penalty"] == 0.0 and not any(n.startswith("penalty.") for n in line) for line in none)
