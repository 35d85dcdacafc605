from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from inn.config.assemble import model_config
from inn.config.run import TrainConfig
from inn.models.build import build_model
from inn.training.optim import build_optimizer, build_schedule


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("steps", [7, 40, 333])
def test_onecycle_is_pytorchs(steps, warmup):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    ours = build_schedule(TrainConfig(schedule="onecycle", lr=3e-3, warmup=warmup), steps)
    for step in range(steps):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_cosine_rises_in_a_line_and_ends_on_its_floor():
    lr = build_schedule(TrainConfig(schedule="cosine", lr=2.0, warmup=0.1, lr_floor=0.05), 100)
    assert [lr(s) for s in range(10)] == pytest.approx([0.2 * (s + 1) for s in range(10)])
    assert lr(10) == pytest.approx(2.0)
    assert lr(99) == pytest.approx(0.1)
    middle = [lr(s) for s in range(10, 100)]
    assert middle == sorted(middle, reverse=True)
    assert (lr(30) + lr(79)) / 2 == pytest.approx(1.05)  # point-symmetric about the middle


def test_wsd_stays_and_then_falls_by_one_minus_the_root():
    lr = build_schedule(TrainConfig(schedule="wsd", lr=1.0, warmup=0.1, decay=0.2, lr_floor=0.0), 100)
    assert {lr(s) for s in range(9, 80)} == {1.0}
    assert lr(84) == pytest.approx(1 - 0.25**0.5)
    assert lr(99) == 0.0
    flat = build_schedule(TrainConfig(schedule="wsd", lr=1.0, warmup=0.0, decay=0.0), 10)
    assert {flat(s) for s in range(10)} == {1.0}


@given(
    st.sampled_from(["onecycle", "cosine", "wsd"]),
    st.integers(1, 500),
    st.floats(0, 0.999),
    st.floats(0, 0.999),
)
def test_every_schedule_is_finite_and_never_above_its_peak(kind, steps, warmup, decay):
    options = {"decay": decay} if kind == "wsd" else {}
    lr = build_schedule(TrainConfig(schedule=kind, lr=1e-2, warmup=warmup, **options), steps)
    assert all(0 <= lr(step) <= 1e-2 * (1 + 1e-12) for step in range(steps))


def test_no_bias_norm_gain_identity_or_time_constant_of_a_population_decays():
    config = model_config("inn", neurons=2, width=8, rounds=1, identity="embedding", vocab=11)
    model = build_model(config)
    optimizer = build_optimizer(model, TrainConfig(weight_decay=0.1))
    decaying = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in decaying}
    assert names
    for name in names:
        last = name.rsplit(".", 1)[-1].lower()
        assert "bias" not in last
        assert not any(word in name.lower() for word in ("identity", "a_log", "norm.weight", "gain"))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
