"""Objective `nested`: what a smaller size is, its loss and state, and that a run goes on as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_objectives import batch, lines, stop_at, tensors

import inn
from inn.analysis import kept, silenced
from inn.config.assemble import model_config
from inn.config.run import TrainConfig
from inn.inference.evaluate import evaluate
from inn.models.build import build_model
from inn.runs.load import load_data
from inn.system.errors import InputError
from inn.training.optim import build_optimizer
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper
from inn.training.trainer import fit

MODEL = {"neurons": 4, "width": 4, "rounds": 2, "slots": 64, "forget": 0.0}


def stepper(model: dict | None = None, *, kind: str = "inn", double: bool = False, **options) -> Any:
    torch.manual_seed(0)
    made = build_model(model_config(kind, vocab=11, **(MODEL if kind == "inn" else {}), **(model or {}))).train()
    made = made.double() if double else made
    config = TrainConfig(clip=0.0, weight_decay=0.0, objective={"kind": "nested", **options})
    return Stepper(SingleDevice(made), build_optimizer(made, config), config, carry=True, steps=8)


@pytest.mark.parametrize("readout", ["concat", "mean", "attention"])
@pytest.mark.parametrize("router", ["dendrites", "attention", "mixture", "static", "none"])
def test_a_smaller_size_is_the_model_with_the_others_silenced(router, readout):
    step = stepper({"router": router, "readout": readout}, double=True)
    model, (tokens, _) = step.model.eval(), batch()
    with torch.no_grad():
        with silenced(model, [2, 3]):
            expected, _ = model(tokens)
        with kept(model, [0, 1]):
            found, state = model(tokens)
        again, _ = model(tokens)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, again)
    first = model.initial_state(4)
    for (r, part), t in state.items():
        if r >= 0 and t.is_floating_point():
            assert torch.equal(t[:, 2:], first[r, part][:, 2:])


@pytest.mark.parametrize("shared", [False, True])
def test_fewer_rounds_are_a_model_that_has_fewer(shared):
    step = stepper({"share_rounds": shared})
    model, (tokens, _) = step.model.eval(), batch()
    small = build_model(model_config("inn", vocab=11, **{**MODEL, "rounds": 1})).eval()
    small.load_state_dict({n: t for n, t in model.state_dict().items() if n in small.state_dict()})
    with torch.no_grad(), kept(model, rounds=1):
        torch.testing.assert_close(model(tokens)[0], small(tokens)[0])


def test_the_loss_is_the_mean_of_the_sizes_and_each_reads_on_from_its_own_state():
    """Against a loop that carries a state for each size, in float64: all sizes drawn, so that none begins afresh."""
    step = stepper(double=True, sizes=[1, 2], sample=2)
    plain = stepper(double=True).model
    tokens, state, carried = torch.randint(11, (4, 37), generator=torch.Generator().manual_seed(1)), None, None
    own: dict[int, Any] = {1: None, 2: None, 4: None}
    optimizer = build_optimizer(plain, step.config)
    for number in range(3):
        part = tokens[:, 12 * number : 12 * number + 13]
        reset = torch.tensor([False, number == 2, False, False])
        starts = torch.zeros(4, 12, dtype=torch.bool)
        starts[:, 0] = reset
        result = step(part[:, :-1], part[:, 1:], reset, carried, 1e-2, number + 1)
        carried = result.state
        losses = []
        for size in own:
            with kept(plain, range(size)):
                logits, state = plain(part[:, :-1], own[size], reset=starts)
            own[size] = state.detach()
            losses.append(plain.loss(logits, part[:, 1:]) / 48)
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
        optimizer.step()
        assert result.loss == pytest.approx(torch.stack(losses).mean().item(), rel=1e-6)
        assert result.metrics["full"] == pytest.approx(losses[-1].item(), rel=1e-6)
    for name, p in step.model.named_parameters():
        torch.testing.assert_close(p, dict(plain.named_parameters())[name], rtol=0, atol=1e-4)
    for size in (1, 2):
        for (r, part), t in own[size].items():
            if r >= 0:
                torch.testing.assert_close(carried[r, f"size.{size}:{part}"], t, rtol=1e-3, atol=1e-3)


def test_a_size_is_held_then_begins_afresh():
    step = stepper(sizes=[1, 2, 3], hold=4)
    objective = step.objective
    drawn = [objective.drawn(n) for n in range(1, 41)]
    assert all(len({tuple(d) for d in drawn[i : i + 4]}) == 1 for i in range(0, 40, 4))
    assert {d[0][0] for d in drawn} == {1, 2, 3}
    state = None
    for number in (1, 2):
        state = step(*batch(), None, state, 1e-3, number).state
    held = {part.partition(":")[0] for _, part in state if ":" in part}
    assert held == {objective._name(objective.drawn(1)[0])}


def test_rows_that_are_accumulated_are_the_whole_batch():
    found = []
    for n in (1, 2):
        step = stepper(sizes=[1, 2], depths=[1])
        step.config.accumulate = n
        state = None
        for number in (1, 2):
            result = step(*batch(), None, state, 1e-2, number)
            state = result.state
        found.append((result.loss, {key: t.float() for key, t in state.items()}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for key, t in found[0][1].items():
        torch.testing.assert_close(t, found[1][1][key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [pytest.param({"hold": 2}, marks=pytest.mark.slow), {"sizes": [1, 2], "depths": [1], "sample": 2, "hold": 3}],
)
def test_a_run_that_was_stopped_and_resumed_is_the_one_that_was_not(tmp_path, tiny, options):
    config = tiny("inn", model={"neurons": 3}, objective={"kind": "nested", **options})
    fit(config, tmp_path / "whole")
    for resume, stop in ((False, 4), (True, 9)):
        fit(config, tmp_path / "run", resume=resume, report=stop_at(stop))
    fit(None, tmp_path / "run", resume=True)
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    told = [line for line in lines(tmp_path / "run") if line["event"] == "validation"]
    names = {"objective.size.1", "objective.size.2"}
    if "depths" in options:
        names |= {"objective.rounds.1", "objective.size.1.rounds.1", "objective.size.2.rounds.1"}
    assert names == {name for name in told[0] if name.startswith("objective.")}
    model = inn.load(tmp_path / "run")
    with kept(model, [0]):
        text = load_data(tmp_path / "run").valid[:300]
        assert evaluate(model, text, window=16, warmup=1024).bits == pytest.approx(told[-1]["objective.size.1"])
    fit(
        tiny("inn", model={"neurons": 3}, objective={"kind": "nested", **options}, checkpoint_rounds=True),
        tmp_path / "a",
    )
    assert tensors(tmp_path / "a")["model.safetensors"] == tensors(tmp_path / "whole")["model.safetensors"]


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"sizes": [5]}, "sizes must be from 1 to 4, the neurons there are, not 5"),
        ({"sizes": [0]}, "sizes must be from 1 to 4"),
        ({"depths": [3]}, "depths must be from 1 to 2, the rounds there are, not 3"),
        ({"sizes": [4], "sample": 1}, "sample 1 is more than the 0 sizes below the full one"),
        ({"hold": 0}, "hold must be at least 1, not 0"),
    ],
)
def test_what_is_no_size_is_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        stepper(**options)


def test_models_that_have_no_first_neurons_are_refused():
    with pytest.raises(InputError, match=r"a model of kind 'lstm' has none; set model\.kind inn"):
        stepper(kind="lstm")
    with pytest.raises(InputError, match="reads a part of readout 'parts' no more where nobody of it is left"):
        stepper({"readout": "parts"})
    with pytest.raises(InputError, match="readout 'each' tells something of every link"):
        stepper({"router": "static", "readout": "each", "topology": {"kind": "chain", "size": 2}})
    with pytest.raises(InputError, match="none of the first 1 neurons is read out"):
        stepper({"readout": "concat", "readout_options": {"read": [2, 3]}})
