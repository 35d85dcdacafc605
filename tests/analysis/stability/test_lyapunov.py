"""Systems whose Lyapunov exponents are known, and neurons whose time constants were set by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import inn
from inn.analysis.stability.lyapunov import exponents_over_time, lyapunov
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.system.errors import InputError


def test_a_linear_system():
    torch.manual_seed(0)
    basis = torch.randn(5, 5, dtype=torch.float64)
    growth = torch.tensor([1.3, 0.9, 0.5, 0.3, 0.1], dtype=torch.float64)
    A = basis @ torch.diag(growth) @ basis.inverse()  # far from normal: it takes a while to show its eigenvalues
    found = lyapunov([lambda x: x @ A.T] * 300, torch.zeros(1, 5).double(), steps=1, exponents=3)[100:].mean((0, 1))
    np.testing.assert_allclose(found, growth[:3].log(), rtol=0.02)


def test_steps_of_a_stretch_and_rows_of_their_own():
    def three_steps(x):
        return x * torch.tensor([0.9, 0.5], dtype=torch.float64) ** 3

    found = lyapunov([three_steps] * 60, torch.tensor([[1.0, 1.0], [2.0, 5.0]]).double(), steps=3, exponents=2)
    np.testing.assert_allclose(found[30:].mean(0), np.log([[0.9, 0.5]] * 2), rtol=1e-3)


def test_the_logistic_map_is_chaotic():
    found = lyapunov([lambda x: 4 * x * (1 - x)] * 4000, torch.tensor([[0.3]]).double(), steps=1)
    assert found.mean() == pytest.approx(math.log(2), rel=0.02)


def test_what_is_forgotten_at_once_is_minus_infinity():
    found = lyapunov([lambda x: 0 * x] * 3, torch.ones(1, 2).double(), steps=1, exponents=2)
    assert np.isneginf(found).all()


def timed(rate: float, **fields):
    """One round whose memories all forget at `rate` per symbol, whatever they read."""
    torch.manual_seed(0)
    model = inn.INN(vocab=11, neurons=2, width=8, rounds=1, conv=1, recall=[], **fields).eval()
    with torch.no_grad():
        for round_ in model.graph.rounds:
            memory = round_.memory
            memory.A_log.zero_()  # A = -1
            memory.dt_proj.weight.zero_()
            memory.dt_proj.bias.fill_(math.log(math.expm1(rate)))  # softplus of it is the rate
    return model


@pytest.mark.parametrize("rate", [0.5, 0.02])
@pytest.mark.parametrize("router", ["dendrites", "none"])
def test_a_neuron_made_slow_or_fast_by_hand(rate, router):
    found = exponents_over_time(timed(rate, router=router), torch.randint(11, (3, 128)), exponents=3)
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found, -rate, rtol=0.02)


def test_the_slowest_neuron_shows_first():
    model = timed(0.5)
    with torch.no_grad():
        model.graph.rounds[0].memory.A_log[1, 3, 5] = math.log(0.1)  # one number of neuron 1: ten times slower
    found = exponents_over_time(model, torch.randint(11, (2, 256)), exponents=2).mean(0)
    np.testing.assert_allclose(found, [-0.05, -0.5], rtol=0.02)


@pytest.mark.parametrize("fields", [{"recall": [2, 3]}, {"share_rounds": True}, {"router": "attention", "heads": 2}])
def test_any_inn(fields):
    torch.manual_seed(0)
    model = inn.INN(**({"vocab": 11, "neurons": 2, "width": 8, "rounds": 2, "recall": []} | fields))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    found = exponents_over_time(model, torch.randint(11, (2, 96)))
    assert np.isfinite(found).all()
    assert (found < 0).all()  # an untrained memory forgets
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32
    assert model.training


def test_an_lstm_with_its_gates_set():
    model = build_model(model_config("lstm", vocab=11, width=4, layers=1))
    with torch.no_grad():
        for p in model.lstm.parameters():
            p.zero_()
        model.lstm.bias_ih_l0[4:8] = math.log(0.9 / 0.1)  # the forget gate is 0.9: c falls by that, h does not matter
    found = exponents_over_time(model, torch.randint(11, (1, 96)), exponents=4)
    np.testing.assert_allclose(found, math.log(0.9), rtol=0.02)


def test_mistakes():
    with pytest.raises(InputError, match="1 to 2 Lyapunov exponents, not 3"):
        lyapunov([], torch.ones(1, 2), steps=1, exponents=3)
    with pytest.raises(InputError, match="need 32 symbols at least, not 31"):
        exponents_over_time(timed(0.1), torch.zeros(1, 31).long())
    with pytest.raises(InputError, match="no state of real numbers"):
        exponents_over_time(build_model(model_config("ngram", vocab=11)), torch.zeros(1, 64).long())
