"""Channels that belong to neurons: a neuron whose channels are missing is skipped, and practice for that."""

import itertools
from typing import Any

import pytest
import torch

import inn.testing
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.system.errors import InputError

B, T, F = 3, 9, 4


def built(**fields) -> Any:
    torch.manual_seed(0)
    small = {"features": F, "outputs": 5, "head": "classes", "neurons": 4, "width": 4, "rounds": 2, "channels": "split"}
    model = build_model(model_config("signal", **{**small, "memory": {"kind": "mamba", "state": 2}, **fields}))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model.double().eval()


def signal(missing=0.0):
    x = torch.randn(B, T, F, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return torch.where(torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < missing, torch.nan, x)


@pytest.mark.parametrize(
    "features, neurons, parts",
    [(4, 2, [[0, 1], [2, 3]]), (5, 2, [[0, 1], [2, 3, 4]]), (2, 4, [[0], [0], [1], [1]]), (3, 3, [[0], [1], [2]])],
)
def test_each_neuron_has_its_part_of_the_channels(features, neurons, parts):
    model = built(features=features, neurons=neurons)
    assert [model.config.channels_of(n) for n in range(neurons)] == parts
    x = torch.randn(1, 1, features, dtype=torch.float64)
    neurons_in = model.embed(x)
    for c in range(features):
        other = x.clone()
        other[..., c] += 1
        moved = (model.embed(other) - neurons_in).abs().amax((0, 1, 3)) > 0
        assert moved.tolist() == [c in part for part in parts]


@pytest.mark.parametrize("router", ["dendrites", "attention"])
def test_a_neuron_without_its_channels_is_skipped(router):
    model, x = built(router=router), signal()
    x[:, :, 2] = torch.nan
    there = torch.tensor([True, True, False, True]).expand(B, -1)
    bar = model.norm(model.graph(model.enter(x), present=there)[0])
    y, state = model(x)
    torch.testing.assert_close(y, model.head(bar))
    assert not any(t[:, 2].any() for t in state.values())


@pytest.mark.parametrize("pool", ["none", "mean"])
def test_the_contract_holds_with_gaps(pool):
    inn.testing.check_model("signal", channels="split", pool=pool, neurons=3, width=4, rounds=1)
    model, x = built(pool=pool, features=6), torch.cat((signal(0.6), signal(0.3)[..., :2]), -1)
    reset, mask = torch.rand(B, T) < 0.2, torch.rand(B, T) < 0.8

    def run(cuts):
        state, told = None, []
        for a, b in itertools.pairwise([0, *cuts, T]):
            y, state = model(x[:, a:b], state, reset=reset[:, a:b], mask=mask[:, a:b])
            told.append(y)
        y = torch.cat(told, 1)[mask]
        return [y, *state.values(), *torch.autograd.grad(y.sin().sum(), list(model.parameters()))]

    for found, expected in zip(run([2, 3, 7]), run([]), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
        assert found.isfinite().all()


def test_steps_in_place_skip_too():
    model, x = built(), signal(0.5)
    y, last = model(x)
    state = None
    for t in range(T):
        told, state = model.step_(x[:, t], state)
        torch.testing.assert_close(told, y[:, t])
    for key, t in last.items():
        torch.testing.assert_close(state[key], t)


def test_training_leaves_neurons_out_and_reading_does_not():
    model, plain, x = built(absent=0.5), built(), signal()
    assert torch.equal(model(x)[0], plain(x)[0])
    model.train()
    left = ~model.present(x)
    assert torch.equal(left, left[:, :1].expand_as(left))  # a row without a neuron is without it throughout
    assert 0.3 < torch.stack([~model.present(x) for _ in range(100)]).double().mean() < 0.7
    model(x)[0].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_all_missing_gives_numbers():
    model, x = built(), torch.full((B, T, F), torch.nan, dtype=torch.float64)
    y, state = model(x)
    assert y.isfinite().all()
    assert not any(t.any() for t in state.values())


@pytest.mark.parametrize(
    "fields, word",
    [({"input": "copy"}, "input 'split'"), ({"channels": "all", "absent": 0.1}, "absent"), ({"absent": 2.0}, "absent")],
)
def test_options_that_do_not_fit_are_refused(fields, word):
    with pytest.raises(InputError, match=word):
        built(**fields)


def test_saved_and_made_anew():
    model, x = built(features=5), torch.randn(2, 3, 5, dtype=torch.float64)
    other = built(features=5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x)[0], model(x)[0])
    with torch.device("meta"):
        empty: Any = build_model(model.config)
    empty.to_empty(device="cpu").reset_parameters()
    assert torch.equal(empty.input.places, model.input.places)
