"""The clock."""

from __future__ import annotations

import math

import pytest
import torch

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn_benchmarks.measure import Effort, Product, Times, in_turns, matmul_rate, slope, spread, train_step


def test_works_take_turns_after_a_warm_up():
    calls: list[str] = []
    works = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    times = in_turns(works, Effort(rounds=3, seconds=0.0, most=9, sample=0.0))
    assert "".join(calls) == "ab" + "ababab"
    assert {name: len(t.samples) for name, t in times.items()} == {"a": 3, "b": 3}


@pytest.fixture
def passing(monkeypatch):
    """`passing(seconds)`: work that takes just so long, by the clock of this test; it counts its calls in `calls`."""
    now = 0.0
    monkeypatch.setattr("inn_benchmarks.measure.time.perf_counter", lambda: now)

    def make(seconds: float):
        def work() -> None:
            nonlocal now
            now += seconds
            work.calls += 1

        work.calls = 0
        return work

    return make


def test_short_work_is_repeated_and_the_time_is_of_one_call(passing):
    times = in_turns({"a": (work := passing(0.002))}, Effort(rounds=2, seconds=0.0, sample=0.019))
    assert work.calls == 2 + 2 * 10  # the warm-up, a call to time, and two turns of 0.02 seconds
    assert times["a"].samples == pytest.approx((0.002, 0.002))


def test_turns_go_on_until_the_time_is_over_or_enough_are_taken(passing):
    effort = Effort(rounds=2, seconds=30.0, most=7, sample=0.0)
    assert len(in_turns({"a": list}, effort)["a"].samples) == 7
    effort = Effort(rounds=2, seconds=0.02, most=1000, sample=0.0)
    assert len(in_turns({"a": passing(0.003)}, effort)["a"].samples) == 7


def test_a_row_takes_at_least_five_readings():
    assert Effort().rounds >= 5


def test_the_median_shrugs_off_one_disturbed_reading():
    assert Times((1.0, 1.1, 90.0, 1.2, 0.9)).median == 1.1
    assert spread({"a": Times((1.0, 3.0, 2.0))}) == {"a": {"median": 2.0, "least": 1.0, "most": 3.0, "n": 3}}


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7])
def test_slope_of_a_power_is_its_exponent(power):
    assert slope([(x, 3 * x**power) for x in (8, 16, 64, 128)]) == pytest.approx(power)


def test_slope_of_too_few_points_is_none():
    assert math.isnan(slope([]))
    assert math.isnan(slope([(2, 3)]))


def test_a_product_counts_two_operations_per_multiply_add():
    product = Product(torch.float32, 8)
    product()
    assert product.flops == 2 * 8**3
    torch.testing.assert_close(product.out, product.a @ product.b)
    assert matmul_rate(torch.bfloat16, Effort(rounds=1, seconds=0, sample=0, product=16)) > 0


@pytest.mark.parametrize("bf16", [False, True])
def test_a_training_step_trains(bf16):
    torch.manual_seed(0)
    model = build_model(model_config("mamba-stack", vocab=11, width=16, layers=1)).eval()
    seen = []
    model.register_forward_hook(lambda m, args, out: seen.append((m.training, args[0].shape, out[0].dtype)))
    before = [p.detach().clone() for p in model.parameters()]
    step = train_step(model, 2, 7, vocab=11, bf16=bf16)
    step()
    assert seen == [(True, (2, 7), torch.bfloat16 if bf16 else torch.float32)]
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters()))
