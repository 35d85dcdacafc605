"""A channel that holds the time since the step before: what memories are told of it, in any way of reading."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import inn.testing
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.system.errors import InputError

SMALL = {"features": 3, "outputs": 2, "neurons": 2, "width": 4, "rounds": 2, "memory": "liquid", "elapsed": 1}


def built(**fields) -> Any:
    torch.manual_seed(0)
    return build_model(model_config("signal", **{**SMALL, **fields})).double().eval()


def signal() -> torch.Tensor:
    x = torch.randn(2, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[..., 1] = x[..., 1].abs() * 5
    x[0, 4, 1] = torch.nan  # not known
    return x


@pytest.mark.parametrize("fields", [{"neurons": 3, "channels": "split"}, {"pool": "mean", "router": "attention"}])
def test_the_contract_holds(fields):
    inn.testing.check_model("signal", **{**{k: SMALL[k] for k in ("width", "rounds", "memory")}, **fields})
    model, x = built(**fields), signal()
    y, last = model(x)
    first, state = model(x[:, :4])
    torch.testing.assert_close(torch.cat((first, model(x[:, 4:], state)[0]), 1), y)
    now = model.initial_state(2)
    for t in range(9):
        step, now = model.step_(x[:, t], now)
        torch.testing.assert_close(step, y[:, t])
    for key, t in last.items():
        torch.testing.assert_close(now[key], t)


def test_memories_are_told_the_channel_in_units_of_its_mean():
    model, x = built(), signal()
    model.standardise(x.flatten(0, 1), torch.randn(18, 2))
    mean = x[..., 1].nanmean()
    dt = (x[..., 1] / mean).nan_to_num(1.0)
    hidden = model.norm(model.graph(model.enter(x), dt=dt)[0])
    torch.testing.assert_close(model(x)[0], model.predict(hidden), rtol=1e-6, atol=1e-7)
    assert not torch.allclose(model.graph(model.enter(x))[0], model.graph(model.enter(x), dt=dt)[0])


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="elapsed must be from 0 to 2, a channel of the signal, not 3"):
        built(elapsed=3)
    with pytest.raises(InputError, match="elapsed must be at least 0, not -1"):
        built(elapsed=-1)
    with pytest.raises(InputError, match="elapsed does nothing, as no memory takes the time"):
        built(memory="gru")
    x = signal()
    x[1, 2, 1] = -0.5
    with pytest.raises(InputError, match="feature 1, the time since the step before"):
        built()(x)
