"""Neurons that were put in another order are found again, and strangers are not made friends."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.analysis import cka
from inn.analysis.comparison.matching import match, permuted, same_roles
from inn.system.errors import InputError

ORDER = [3, 0, 4, 1, 2]


def outputs(neurons: int = 5, width: int = 6, seed: int = 0):
    return torch.randn(2, 200, neurons, width, generator=torch.Generator().manual_seed(seed))


def test_cka_by_hand():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])[None, :, None]  # centred, X'X = 2 I
    first = torch.cat([x[..., :1], torch.zeros_like(x[..., :1])], -1)
    assert cka(x, x).item() == pytest.approx(1)
    assert cka(x, first).item() == pytest.approx(4 / (8**0.5 * 2))  # ‖X'Y‖² = 4
    assert cka(x, torch.ones_like(x)).item() == 0


def test_cka_is_the_same_in_both_spaces_and_blind_to_basis_and_scale():
    few = torch.randn(1, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    wide = torch.cat([few, torch.zeros(1, 5, 3, 4)], -1)  # more numbers than symbols: the other space
    torch.testing.assert_close(cka(few, few), cka(wide, wide))
    x = outputs()
    turn = torch.linalg.qr(torch.randn(6, 6))[0]
    torch.testing.assert_close(cka(x, x), cka(x, x @ turn * 3 + 1), rtol=1e-5, atol=1e-6)


def test_a_known_order_is_found():
    x = outputs()
    theirs = 2 * x[:, :, ORDER] + 0.5 * outputs(seed=1)  # their neuron m is our ORDER[m], in noise
    found = match(x, theirs)
    assert [ORDER[n] for n in found.order] == [0, 1, 2, 3, 4]
    assert found.null.p < 0.03  # one order in 120 is right
    assert found.null.observed == pytest.approx(sum(found.similarity) / 5)
    assert found.null.observed > 0.8 > 0.3 > found.null.mean


def test_strangers_have_no_counterparts():
    p = [match(outputs(seed=s), outputs(seed=100 + s), draws=100).null.p for s in range(20)]
    assert sum(value < 0.05 for value in p) <= 4


def test_populations_of_different_size():
    x = outputs()
    fewer = match(x, x[:, :, [4, 2]])
    assert fewer.order == [-1, -1, 1, -1, 0]
    assert fewer.similarity[0] == 0
    assert fewer.similarity[2] == pytest.approx(1)
    assert fewer.null.observed == pytest.approx(1)  # over the pairs that there are
    assert match(x[:, :, [4, 2]], x).order == [4, 2]


def test_the_neurons_of_a_model_with_its_neurons_moved():
    torch.manual_seed(0)
    model = inn.INN(vocab=11, neurons=4, width=8, rounds=2, router="attention", heads=2, recall=[]).eval()
    tokens = torch.randint(11, (2, 60))
    with torch.no_grad(), inn.record(model, "outputs") as tape:
        model(tokens)
    assert match(tape.last_outputs, tape.last_outputs[:, :, [2, 3, 1, 0]]).order == [3, 2, 0, 1]


def blocks(groups: list[list[int]], seed: int = 0):
    weights = 0.1 + 0.02 * torch.rand(8, 8, generator=torch.Generator().manual_seed(seed))
    for group in groups:
        for a in group:
            weights[a, group] += 0.5
    weights[:, 5] += 0.3  # one that everyone listens to
    return weights


def test_the_same_roles_in_another_order():
    ours = blocks([[0, 1, 2, 3], [4, 5, 6, 7]])
    order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])  # our neuron n is their order[n]
    theirs = torch.empty(8, 8)
    theirs[order[:, None], order[None]] = ours
    found = same_roles(order.tolist(), ours, theirs)
    assert found["received"].observed == pytest.approx(1)
    assert found["edges"].observed == pytest.approx(1)
    assert found["communities"].observed == 1.0
    assert all(null.p < 0.05 for null in found.values())
    wrong = same_roles(list(range(8)), ours, theirs)
    assert all(wrong[name].observed < 0.6 for name in found)


def test_unrelated_roles():
    p = []
    for seed in range(10):
        ours, theirs = (torch.rand(8, 8, generator=torch.Generator().manual_seed(s)) for s in (seed, seed + 50))
        p += [null.p for null in same_roles(list(range(8)), ours, theirs, draws=100).values()]
    assert sum(value < 0.05 for value in p) <= 5


def test_uniform_weights_correlate_with_nothing():
    found = same_roles([0, 1, 2], torch.full((3, 3), 1 / 3), torch.rand(3, 3), draws=10)
    assert found["received"].observed == found["edges"].observed == 0


def test_permuted_counts_the_observed_order():
    import numpy as np

    assert permuted(lambda order: 1.0, np.arange(4), draws=9).p == 1.0
    assert permuted(lambda order: float(order[0] == 0), np.arange(1000), draws=99).p == pytest.approx(0.01, abs=0.011)


def test_mistakes():
    x = outputs()
    with pytest.raises(InputError, match=r"not on \[2, 200\] and \[2, 50\]"):
        match(x, x[:, :50])
    with pytest.raises(InputError, match="2 symbols are too few"):
        match(x[:1, :2], x[:1, :2])
    with pytest.raises(InputError, match="two or more symbols"):
        cka(x[:1, :1], x[:1, :1])
    for order in ([0, 1, -1], [0, 0, 1], [0, 1]):
        with pytest.raises(InputError, match="has a partner"):
            same_roles(order, torch.rand(3, 3), torch.rand(3, 3))
