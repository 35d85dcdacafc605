"""One family of functions for each neuron: pruned exactly, chosen by held-out error."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.nn.inner.families import FAMILY
from inn.nn.inner.kan import Kan
from inn.surgery.families import prune_families, select_families
from inn.system.errors import InputError

TRUE = ["hinge", "fourier", "chebyshev"]


def least_squares(kan, x, y):
    """Fit the coefficients of maps of one number, `[1, S, N, 1]`, exactly."""
    own = kan.config.inner
    for n in range(x.shape[2]):
        names = [own.families[n]] if own.each else own.families
        values = torch.cat([FAMILY[name](x[0, :, n, 0], own.functions) for name in names], -1)
        if kan.mix is not None:
            values = values * kan.mix[n].softmax(0).repeat_interleave(own.functions)
        with torch.no_grad():
            kan.out.weight[n, 0] = torch.linalg.lstsq(values, y[0, :, n]).solution[:, 0]


def test_neurons_with_targets_of_their_own_get_the_families_that_made_them():
    torch.manual_seed(0)
    config = inn.graph_config(neurons=3, width=1, inner="kan", inner_options={"reach": 1.0}, weights="separate")
    kan = Kan(config).double()
    x = torch.rand(1, 80, 3, 1, dtype=torch.float64) * 2 - 1
    y = torch.stack(
        [FAMILY[name](x[0, :, n, 0], 8) @ torch.randn(8, dtype=torch.float64) for n, name in enumerate(TRUE)], -1
    )
    y = y[None, :, :, None]
    seen, held = slice(0, 60), slice(60, 80)
    small, errors = select_families(
        kan,
        lambda m: least_squares(m, x[:, seen], y[:, seen]),
        lambda m: (m(x[:, held]) - y[:, held]).square().mean((0, 1, 3)),
    )
    assert small.config.inner.families == TRUE
    assert small.config.inner.each
    assert kan.config.inner.families == list(FAMILY), "the model given stays as it is"
    assert (small(x) - y).abs().max() < 1e-6
    assert [min(errors, key=lambda name: errors[name][n]) for n in range(3)] == TRUE
    rebuilt = Kan(small.config).double()
    rebuilt.load_state_dict(small.state_dict())
    assert torch.equal(rebuilt(x), small(x))
    with pytest.raises(InputError, match="one family each already"):
        select_families(small, print, print)


def test_a_model_is_pruned_to_one_family_in_all_rounds():
    torch.manual_seed(0)
    model = inn.INN(vocab=11, neurons=3, width=4, rounds=2, inner="kan", inner_options={"families": ["rbf", "hinge"]})
    model.eval().vocabulary = "kept"
    tokens = torch.randint(11, (2, 12))
    with torch.no_grad():
        for module in model.graph.rounds:
            module.inner.out.weight.normal_()
    tried = []

    def error(copy):
        tried.append(copy.config.inner.families)
        return float("nan") if tried[-1] == ["rbf"] else 2.0

    small, errors = select_families(model, lambda copy: None, error)
    assert tried == [["rbf"], ["hinge"]]
    assert list(errors) == ["rbf", "hinge"]
    assert small.config.inner.families == small.graph.config.inner.families == ["hinge"]
    assert model.config.inner.families == ["rbf", "hinge"]
    assert small.vocabulary == "kept"
    again = inn.INN(small.config).eval()
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(tokens)[0], small(tokens)[0])
    with torch.no_grad():
        for module in model.graph.rounds:
            module.inner.out.weight.unflatten(-1, (4, 2, 8))[..., 0, :] = 0
    torch.testing.assert_close(small(tokens)[0], model(tokens)[0])


def test_what_cannot_be_is_one_sentence():
    model = inn.Graph(neurons=3, width=4, rounds=1, inner="kan")
    with pytest.raises(InputError, match="this Graph has no families to choose among: it has no inner map 'kan'"):
        prune_families(inn.Graph(neurons=3, width=4, rounds=1), ["rbf"])
    with pytest.raises(InputError, match="no family 'sines' to keep"):
        prune_families(model, ["sines"])
    with pytest.raises(InputError, match="one per neuron, 3, not 2"):
        prune_families(model, ["rbf", "hinge"])
    with pytest.raises(InputError, match="error must give one number, or 3, one per neuron"):
        select_families(model, lambda copy: None, lambda copy: torch.zeros(2))
    with pytest.raises(InputError, match="not finite"):
        select_families(model, lambda copy: None, lambda copy: torch.nan)
