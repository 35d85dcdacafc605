"""What is alike by what it tells apart, and which neurons answer whatever comes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group, spearmanr

import inn
from inn.analysis import hyperactive, pseudo_depth, record, rsa, rsa_curve
from inn.system.errors import InputError


def seen(stimuli: int = 40, seed: int = 0) -> list[np.ndarray]:
    """Layers of 64 units, each a random map of the one before."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(stimuli, 12))]
    for _ in range(3):
        layers.append(np.maximum(layers[-1] @ rng.normal(size=(layers[-1].shape[1], 64)), 0))
    return layers


def test_likeness_is_spearmans_over_pairs_of_stimuli_whatever_the_basis():
    _, one, other, _ = seen()
    found = rsa(one, other, draws=50)
    pairs = np.triu_indices(40, 1)
    metrics: tuple[tuple[Literal["cosine", "pearson"], int], ...] = (("cosine", 0), ("pearson", 1))
    for metric, centre in metrics:
        x, y = (a - a.mean(centre, keepdims=True) for a in (one, other))
        plain = spearmanr(*((z @ z.T / np.outer(*[np.linalg.norm(z, axis=1)] * 2))[pairs] for z in (x, y)))[0]
        assert rsa(one, other, draws=1, metric=metric).similarity == pytest.approx(plain, abs=1e-9)
    turned = 3.5 * one @ ortho_group.rvs(64, random_state=0) + np.random.default_rng(1).normal(size=64)
    assert rsa(turned, other, draws=1).similarity == pytest.approx(found.similarity, abs=1e-6)
    assert rsa(torch.from_numpy(one).view(40, 8, 8), one, draws=1).similarity == pytest.approx(1)
    assert found.null.p < 0.05
    assert abs(found.null.mean) < 0.05
    assert found.similarity < found.ceiling < 1


def test_a_layer_picks_itself_and_more_units_are_more_like_it():
    layers = seen()
    assert [pseudo_depth(layers, layer)[0] for layer in layers] == [0, 1, 2, 3]
    curve = rsa_curve(layers[2], layers[2], counts=[4, 16, 64])
    assert curve[0].mean < curve[1].mean < curve[2].mean == pytest.approx(1)
    fewer = rsa_curve(layers[1], layers[2], "stimuli")
    assert [point.count for point in fewer] == [5, 10, 20, 40]
    assert fewer[-1].mean == pytest.approx(rsa(layers[1], layers[2], draws=1).similarity)


def test_neurons_that_answer_whatever_comes():
    model = inn.INN(vocab=5, neurons=4, width=8, rounds=2, recall="none")
    with record(model, "activity") as tape:
        model(torch.randint(5, (2, 30)))
    loud = tape.mean("activity").sum(0)
    most = int(loud.argmax())
    assert hyperactive(tape, float(loud[most] / loud.mean()) - 1e-6) == [most]
    assert hyperactive(np.zeros((3, 2)), 1.0) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: rsa(x[:3], x[:3]), "4 stimuli or more, not on 3"),
        (lambda x: rsa(x, x[:-1]), r"not on \[40, 64\] and \[39, 64\]"),
        (lambda x: rsa(x * np.nan, x), "finite"),
        (lambda x: rsa(x, x, metric="dot"), "metric must be"),  # pyright: ignore[reportArgumentType]
        (lambda x: rsa(x, x, draws=0), "draws must be at least 1"),
        (lambda x: rsa_curve(x, x, counts=[65]), "1 to 64, not 65"),
        (lambda x: rsa_curve(x, x, "stimuli", counts=[3]), "4 to 40, not 3"),
        (lambda x: pseudo_depth([], x), "there are none"),
        (lambda x: hyperactive(-x, 1.0), "not below 0"),
        (lambda x: hyperactive(x, 0.0), "above must be over 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(seen()[1])
