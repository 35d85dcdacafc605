"""Stability as a whole: on dynamics known in closed form, on every kind of model, and with bad input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import inn
from inn.analysis.stability.measure import stability
from inn.analysis.stability.patterns import contraction
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.system.errors import InputError

EMBEDDING = torch.randn(11, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def fading(fade, gain: float = 1.0):
    """A causal model in closed form: two depths, h_t = gain x (sum over k of fade(k) e_{t - k}), then 2 h_t."""

    def hidden(tokens, change=None):
        e = EMBEDDING[tokens]
        e = e if change is None else change(e)
        T = tokens.shape[1]
        lag = torch.arange(T)[:, None] - torch.arange(T)
        weights = torch.where(lag >= 0, fade(lag.clamp_min(0).double()), 0.0)
        h = gain * torch.einsum("ts,bsf->btf", weights, e)
        return [e, h, 2 * h]

    return hidden


BLOCKS = torch.randint(11, (4, 160), generator=torch.Generator().manual_seed(1))


def test_a_known_exponential_and_its_growth_with_depth():
    found = stability(fading(lambda k: 0.9**k, gain=3.0), BLOCKS)
    assert found["before"] < 1e-9
    for depth in found["embedding"]:
        assert depth["better"] == "exponential"
        assert depth["exponential"]["rate"]["mean"] == pytest.approx(-math.log(0.9), rel=1e-6)
        assert depth["half_life"] == pytest.approx(-math.log(2) / math.log(0.9), rel=1e-6)
    np.testing.assert_allclose(found["depth"]["growth"]["mean"], np.log([3.0, 6.0]), rtol=1e-6)
    assert found["depth"]["exponent"]["mean"] == pytest.approx(math.log(6) / 2)
    assert found["state"] is found["time"] is None


def test_a_known_power_law():
    found = stability(fading(lambda k: (k + 1e-9) ** -0.7 * (k > 0) + (k == 0)), BLOCKS, at=20)
    for depth in found["embedding"]:
        assert depth["better"] == "power"
        assert depth["power"]["exponent"]["mean"] == pytest.approx(0.7, rel=1e-6)
        assert depth["lags"][-1] == 139


def test_a_model_that_looks_ahead_is_caught():
    def ahead(tokens, change=None):
        e = EMBEDDING[tokens] if change is None else change(EMBEDDING[tokens])
        return [e, e.flip(1)]

    found = stability(ahead, BLOCKS, at=120)
    assert found["before"] == pytest.approx(1.0)
    assert found["depth"]["growth"] == {"mean": [None], "low": [None], "high": [None]}  # nothing is left at symbol 120


def test_an_inn_made_slow_or_fast_by_hand():
    lives = {}
    for rate in (0.4, 0.04):
        torch.manual_seed(0)
        model = inn.INN(vocab=11, neurons=2, width=8, rounds=1, conv=1, recall=[]).eval()
        memory = model.graph.rounds[0].memory
        with torch.no_grad():
            memory.A_log.zero_()
            memory.dt_proj.weight.zero_()
            memory.dt_proj.bias.fill_(math.log(math.expm1(rate)))
        found = stability(model, BLOCKS[:, :96])
        lives[rate] = found["state"]["exponential"]["half_life"]["mean"]
        # What is read of the state is multiplied by what the symbols ask for, so the curve is not smooth.
        assert lives[rate] == pytest.approx(math.log(2) / rate, rel=0.1)
        assert found["state"]["better"] == found["embedding"][0]["better"] == "exponential"
        np.testing.assert_allclose(found["time"]["exponents"]["mean"], -rate, rtol=0.02)


@pytest.mark.parametrize(
    ("kind", "fields", "timed"),
    [
        ("inn", {"neurons": 2, "width": 8, "rounds": 2, "slots": 64}, True),
        ("mamba-stack", {"width": 8, "layers": 2}, True),
        ("lstm", {"width": 8, "layers": 1}, True),
        ("transformer", {"width": 8, "layers": 2, "heads": 2, "window": 16}, False),
        ("transformer-paper", {"width": 8, "layers": 2, "heads": 2, "hidden": 16, "window": 128}, False),
    ],
)
def test_every_kind_of_model(kind, fields, timed):
    torch.manual_seed(0)
    model = build_model(model_config(kind, vocab=11, **fields))
    found = stability(model, BLOCKS[:2, :64], directions=2)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["before"] < 1e-9
    assert found["state"] is not None
    assert (found["time"] is not None) == timed
    assert len(found["embedding"]) == found["depths"] == len(found["depth"]["growth"]["mean"])
    assert stability(model, BLOCKS[:2, :64], directions=2) == found
    assert next(model.parameters()).dtype == torch.float32


def test_contraction_by_hand():
    h = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    # V_1 = |(0,1) - (1,0)|² = 2; m_2 = (1/2, 1/2), V_2 = 1/2; one step d = (1, -1), m_1 - h_1 = (1, -1): all along
    found = contraction(h)
    assert found["contraction"] == pytest.approx(1.5)
    assert found["distance"] == pytest.approx(1.25)
    assert found["drive"] == pytest.approx(0.0, abs=1e-12)


def test_contraction_against_shuffled_time():
    generator = torch.Generator().manual_seed(0)
    centre = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    scale = torch.linspace(0.3, 0, 60)[:, None]
    closer = [contraction(centre + torch.randn(60, 16, generator=generator) * scale, seed) for seed in range(40)]
    excess = np.array([t["contraction"] - t["shuffled_contraction"] for t in closer])
    assert excess.mean() > 5 * excess.std() / 40**0.5
    # States without any order contract by as much as shuffled ones do: the running mean gets better, no more.
    texts = [contraction(centre + 0.5 * torch.randn(60, 16, generator=generator), seed) for seed in range(40)]
    excess = np.array([t["contraction"] - t["shuffled_contraction"] for t in texts])
    assert abs(excess.mean()) < 3 * excess.std() / 40**0.5
    assert np.mean([t["shuffled_contraction"] for t in texts]) > 0


def test_mistakes():
    hidden = fading(lambda k: 0.9**k)
    with pytest.raises(InputError, match=r"\[blocks, symbols\], not on \[160\]"):
        stability(hidden, BLOCKS[0])
    for at in (0, 153, 500):
        with pytest.raises(InputError, match=f"symbol {at} of 160"):
            stability(hidden, BLOCKS, at=at)
    with pytest.raises(InputError, match="symbol 2 of 9"):
        stability(hidden, BLOCKS[:, :9])
    with pytest.raises(InputError, match="a size above 0"):
        stability(hidden, BLOCKS, size=0.0)
    with pytest.raises(InputError, match="a direction or more"):
        stability(hidden, BLOCKS, directions=0)
    with pytest.raises(InputError, match="3 symbols or more"):
        contraction(torch.ones(2, 4))
