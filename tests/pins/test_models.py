"""Models: names and shapes of weights and states, fresh weights of a seed, logits to the tenth digit."""

from __future__ import annotations

import pinned
import pytest
import torch
from pinned import HERE, forms, read
from safetensors.torch import load_file

import inn

FORMS = forms()


@pytest.fixture(scope="module")
def logits() -> dict[str, torch.Tensor]:
    return load_file(HERE / "logits.safetensors")


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_names_and_shapes_of_weights(form):
    assert pinned.shapes(pinned.build(form).state_dict()) == read("names")[form]


@pytest.mark.parametrize("form", FORMS)
def test_names_and_shapes_of_the_state(form):
    state = pinned.build(form).initial_state(2)
    assert isinstance(state, inn.State)
    assert pinned.shapes(state) == read("states")[form]


@pytest.mark.parametrize("form", FORMS)
def test_fresh_weights_of_a_seed(form):
    """To the bit where torch and the processor are those of the pins; else the same draws in the same order."""
    tensors, fresh = pinned.build(form).state_dict(), read("fresh")
    assert pinned.prints(tensors) == pytest.approx(fresh[form]["prints"], rel=1e-5, abs=1e-6)
    if fresh["environment"] == pinned.environment():
        assert pinned.digest(tensors) == fresh[form]["sha256"]


@pytest.mark.parametrize("form", FORMS)
def test_logits(form, logits):
    """Over two stretches that carry the state, with resets and padding."""
    one, two, state = pinned.readings(form)
    close(one, logits[f"{form}/1"])
    close(two, logits[f"{form}/2"])
    like = {name: [shape, kind.replace("float32", "float64")] for name, (shape, kind) in read("states")[form].items()}
    assert pinned.shapes(state) == like


def test_a_bare_graph(logits):
    assert pinned.shapes(pinned.build_graph().state_dict()) == read("names")["graph"]
    close(pinned.graph_reading(), logits["graph"])


def test_a_collapsed_population_computes_the_same(logits):
    model = pinned.fill(pinned.build("paper"))
    one = inn.collapse(model)
    now, then = pinned.shapes(one.state_dict()), read("names")["paper"]
    assert {name: shape for name, (shape, _) in now.items()} == {
        name: [1] if name == "graph.ids" else shape for name, (shape, _) in then.items()
    }
    with torch.no_grad(), pinned.use_backend("reference"):
        torch.testing.assert_close(one(pinned.symbols(2, 6))[0], model(pinned.symbols(2, 6))[0], rtol=1e-8, atol=1e-10)


def test_a_state_goes_to_a_file_and_back():
    state = pinned.build("inn").initial_state(2)
    tensors = state.to_tensors()
    assert set(tensors) == {f"v1/{name}" for name in read("states")["inn"]}
    assert pinned.shapes(inn.State.from_tensors(tensors)) == read("states")["inn"]


def test_models_are_built_by_flat_names_and_by_configuration():
    fields = {"vocab": 11, "neurons": 3, "width": 8, "rounds": 2, "state": 4, "recall": [], "preset": "distinct"}
    torch.manual_seed(0)
    by_name = inn.INN(**fields, heads=2)
    torch.manual_seed(0)
    config = inn.model_config("inn", **fields, heads=2)
    assert isinstance(config, inn.INNConfig)
    assert pinned.digest(by_name.state_dict()) == pinned.digest(inn.build_model(config).state_dict())
