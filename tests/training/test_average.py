"""Averaged weights: what they are, where they stand in for the model's own, and that training never sees them."""

from __future__ import annotations

import contextlib

import pytest
import torch
from test_objectives import batch
from test_rewire import MODEL, stepper
from test_trainer import Stop, final, metrics
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import inn
from inn.analysis import kept
from inn.config.run import TrainConfig
from inn.data.prepare import prepare
from inn.export.base import export
from inn.hf import INNForCausalLM
from inn.models.build import build_model
from inn.runs import checkpoint as checkpoints
from inn.system.errors import InputError
from inn.training import validation
from inn.training.average import Average
from inn.training.building import check_optimizer
from inn.training.trainer import fit


def test_the_average_is_that_of_all_steps_by_their_age():
    torch.manual_seed(0)
    model, seen = nn.Linear(3, 2).double(), []
    average = Average(model, 0.9)
    for _ in range(7):
        for p in model.parameters():
            nn.init.normal_(p)
        average.update()
        seen.append([p.detach().clone() for p in model.parameters()])
        weights = [0.9 ** (len(seen) - 1 - k) for k in range(len(seen))]
        for n, p in enumerate(model.parameters()):
            by_hand = sum(w * one[n] for w, one in zip(weights, seen)) / sum(weights)
            torch.testing.assert_close(average.of[p], by_hand, rtol=1e-12, atol=1e-12)


def test_after_many_steps_it_is_pytorchs():
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    ours, theirs = Average(model, 0.5), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in range(60):
        for p in model.parameters():
            nn.init.normal_(p)
        ours.update()
        theirs.update_parameters(model)
    for p, other in zip(model.parameters(), theirs.module.parameters()):
        torch.testing.assert_close(ours.of[p], other.detach(), rtol=1e-12, atol=1e-12)


def test_before_the_first_step_and_after_an_error_the_weights_are_their_own():
    model = nn.Linear(2, 2)
    average, before = Average(model, 0.9), model.weight.detach().clone()
    with average.applied() as weights:
        assert torch.equal(model.weight, before)
        assert torch.equal(weights["weight"], before)
    average.update()
    nn.init.zeros_(model.weight)
    with contextlib.suppress(ZeroDivisionError), average.applied():
        assert torch.equal(model.weight, before)
        raise ZeroDivisionError
    assert not model.weight.any()


@pytest.mark.parametrize("kind, tied", [("inn", True), ("inn", False), ("transformer", True)])
def test_training_is_what_it_is_without_and_the_average_is_what_is_kept(tmp_path, tiny, kind, tied):
    model = {"tied": tied}
    fit(tiny(kind, model=dict(model)), tmp_path / "without")
    config = tiny(kind, model=dict(model), ema=0.8, sample_every=4, checkpoint_every=1, keep=12)
    summary = fit(config, tmp_path / "run")
    losses = [[x["loss"] for x in metrics(tmp_path / n) if x["event"] == "train"] for n in ("without", "run")]
    assert losses[0] == losses[1]
    folder = tmp_path / "run" / "checkpoints"
    found = [checkpoints.load(folder / checkpoints.name_of(step)) for step in range(1, 13)]
    last = checkpoints.load(tmp_path / "without" / "checkpoints" / "step-00000012").tensors["model"]
    ages = [0.8 ** (11 - k) for k in range(12)]
    for name, raw in found[-1].tensors["raw"].items():
        assert torch.equal(raw, last[name])
        mean = sum(age * one.tensors["raw"][name].double() for age, one in zip(ages, found)) / sum(ages)
        torch.testing.assert_close(found[-1].tensors["model"][name].double(), mean, rtol=1e-5, atol=1e-6)
    assert len(found[-1].meta["aliases"]) == len(checkpoints.load(
        tmp_path / "without" / "checkpoints" / "step-00000012").meta["aliases"])  # fmt: skip
    model = inn.load(folder / "step-00000012")
    own = validation.validate(model, prepare(config.data), config)
    assert own.bits == pytest.approx(summary["validation"]["bits"], abs=1e-6)
    assert any(
        p.detach().ne(found[-1].tensors["raw"][n]).any() for n, p in model.named_parameters() if n[:5] == "norm."
    )


def test_exports_and_hugging_face_have_the_average(tmp_path, tiny):
    fit(tiny("inn", ema=0.8), tmp_path / "run")
    model = inn.load(tmp_path / "run")
    best = checkpoints.best(tmp_path / "run" / "checkpoints")
    assert best is not None
    kept, tokens = checkpoints.load(best).tensors, torch.arange(12)[None]
    assert torch.equal(model.norm.weight, kept["model"]["norm.weight"])
    assert not torch.equal(model.norm.weight, kept["raw"]["norm.weight"])
    export(tmp_path / "run", tmp_path / "out")
    assert torch.equal(inn.load(tmp_path / "out")(tokens)[0], model(tokens)[0])
    assert torch.equal(INNForCausalLM.from_pretrained(tmp_path / "out")(tokens).logits, model(tokens)[0])


@pytest.mark.parametrize("settings", [{}, {"optimizer": "muon"}], ids=["adamw", "muon"])
def test_a_stopped_and_resumed_run_is_bit_for_bit_the_one_that_was_not(tmp_path, tiny, settings):
    config = tiny("inn", ema=0.9, **settings)
    fit(config, tmp_path / "whole")
    for resume, stop in ((False, 2), (True, 7)):
        fit(None if resume else config, tmp_path / "parts", resume=resume, report=Stop(stop))
    fit(None, tmp_path / "parts", resume=True)
    assert "raw.safetensors" in final(tmp_path / "whole")
    assert final(tmp_path / "parts") == final(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_an_edge_that_has_just_grown_has_no_average_of_the_one_that_went():
    step = stepper(grow="random", train={"ema": 0.9})
    average = step.average
    graph = step.objective.graph
    for number in (1, 2):
        old = graph.edge_sources.clone()
        step(*batch(), None, None, 1e-2, number)
    moved = graph.edge_sources != old
    assert moved.any()
    for r in range(MODEL["rounds"]):
        for p, view in graph.round(r).router.edge_weights():
            assert not view(average.of[p])[moved].any()
            assert view(average.of[p])[~moved].any()


def test_what_is_protected_stays_so_in_the_average(tmp_path, tiny):
    fit(tiny("inn"), tmp_path / "first")
    objective = {"kind": "protect", "symbols": 256}
    fit(tiny("inn", ema=0.7, start=str(tmp_path / "first"), objective=objective), tmp_path / "run")
    start = dict(inn.load(tmp_path / "first").named_parameters())
    now = dict(inn.load(tmp_path / "run" / "checkpoints" / "step-00000012").named_parameters())
    same = [name for name, p in start.items() if torch.equal(p, now[name])]
    assert any("A_log" in name for name in same)  # no linear map: it stays
    assert len(same) < len(start)


def test_several_sizes_are_measured_of_the_average(tmp_path, tiny):
    config = tiny("inn", ema=0.9, model={"neurons": 4, "dropout": 0.0}, objective="nested")
    summary = fit(config, tmp_path / "run")
    model = inn.load(tmp_path / "run" / "checkpoints" / "step-00000012")
    with kept(model, range(2), model.config.rounds):
        smaller = validation.validate(model, prepare(config.data), config)
    assert summary["validation"]["objective.size.2"] == pytest.approx(smaller.bits, abs=1e-6)


def test_what_cannot_be_averaged_is_refused(tmp_path, tiny):
    with pytest.raises(InputError, match=r"ema must be in \[0, 1\), not 1"):
        TrainConfig(ema=1.0)
    with pytest.raises(InputError, match=r"takes no steps; leave train.ema out"):
        fit(tiny("ngram", ema=0.9), tmp_path / "run")
    config = tiny("inn", ema=0.9)
    with pytest.raises(InputError, match=r"train.ema needs whole weights in every process; set train.parallel ddp"):
        check_optimizer(config, build_model(config.model), sharded=True)
    assert not (tmp_path / "run").exists()
