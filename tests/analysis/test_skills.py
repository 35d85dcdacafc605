"""Which neurons skills need, where that is known: parts that were planted, and neurons that are made special."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import inn
from inn.analysis import normalised_information, skills, specialisation
from inn.analysis.measures.skills import agrees, communities_of
from inn.config.rivals import LSTMConfig
from inn.data.examples import Examples
from inn.models.lstm import LSTM
from inn.system.errors import InputError


def data(part: int, seed: int = 0) -> Examples:
    """Sequences of the symbols of one half, each the one before and one more."""
    rng = np.random.default_rng(seed)
    steps = (rng.integers(0, 4, (40, 1)) + np.arange(17)) % 4 + 4 * part
    return Examples.equal(steps[:, :-1], steps[:, 1:])


NONE: Any = LSTM(LSTMConfig(vocab=8, width=4))


@pytest.fixture(scope="module")
def both() -> inn.INN:
    """Two models of one half each, learned by heart, side by side."""
    models = []
    for part in range(2):
        torch.manual_seed(part)
        model = inn.INN(vocab=8, neurons=2, width=8, rounds=1, recall="none", weights="separate")
        x, y = (torch.from_numpy(a) for a in data(part).padded()[:2])
        optimizer = torch.optim.Adam(model.parameters(), 3e-2)
        for _ in range(40):
            optimizer.zero_grad()
            (model.loss(model(x)[0], y) / y.numel()).backward()
            optimizer.step()
        models.append(model.eval())
    models[1].graph.ids += 2
    return inn.merge(*models)


def test_parts_that_were_planted_are_found_and_each_is_needed_by_its_own(both: inn.INN):
    tasks = {"low": data(0, 1), "high": data(1, 1)}
    told: list[tuple[int, int]] = []
    found = skills(both, tasks, labels="aabb", draws=60, lesions=3, report=lambda *done: told.append(done))
    assert told == [(4, 8), (8, 8)]
    assert found.communities["groups"] == found.localisation.groups == [[0, 1], [2, 3]]
    assert found.agreement["ari"].observed == found.agreement["nmi"].observed == 1
    own, other = found.localisation.bits.diagonal(), found.localisation.bits.fliplr().diagonal()
    assert own.min() > 5 * other.max()
    assert found.localisation.null.observed >= found.localisation.null.high
    assert found.weights.sum(1).tolist() == pytest.approx([1, 1])
    assert found.weights[0, :2].sum() > 0.8
    fair = skills(both, tasks, labels="aabb", pairs=2, draws=0, lesions=0)  # of four neurons all coalitions: exact
    assert fair.communities["groups"] == [[0, 1], [2, 3]]
    assert fair.agreement["ari"].observed == fair.agreement["ari"].p == 1
    one = skills(both, tasks, of={"all": ["low", "high"]}, draws=0, lesions=0)
    assert torch.allclose(one.weights, found.weights.mean(0, keepdim=True))
    assert one.agreement == {}
    assert one.localisation.groups == [[0, 1], [2, 3]]


def test_the_null_of_communities_knows_that_likenesses_have_groups():
    rng = np.random.default_rng(0)
    p = [communities_of(torch.from_numpy(rng.random((3, 24))), draws=19, seed=k)["null"]["p"] for k in range(10)]
    assert sum(value > 0.05 for value in p) >= 8
    planted = torch.eye(3, dtype=torch.float64).repeat_interleave(8, 1) + torch.from_numpy(rng.random((3, 24)) / 4)
    found = communities_of(planted, draws=39)
    assert found["groups"] == [list(range(8 * g, 8 * g + 8)) for g in range(3)]
    assert found["null"]["p"] < 0.05


def test_agreement_has_the_chance_of_shuffled_labels_beside_it():
    rng = np.random.default_rng(0)
    order = rng.permutation(30).tolist()
    found = agrees([order[:10], order[10:20], order[20:]], [n // 10 for n in range(30)])
    assert abs(found["ari"].mean) < 0.02 < found["nmi"].mean  # chance has none of the one and some of the other
    assert found["nmi"].p > 0.01
    assert normalised_information([[0, 1, 2, 3]], [[0, 1, 2, 3]]) == 1
    assert normalised_information([[0, 1], [2, 3]], [[3, 2], [0, 1]]) == pytest.approx(1)


def test_how_special_neurons_are():
    rng = torch.Generator().manual_seed(0)
    of = np.repeat(np.random.default_rng(0).permutation(["add", "copy", "add", "rest"] * 25), 10)
    activity = torch.rand(1000, 7, generator=rng, dtype=torch.float64)
    activity[:, [1, 2, 4]] += 2.0 * torch.from_numpy(of == "copy")[:, None]
    activity[:, 5:] += 2.0 * torch.from_numpy(of == "rest")[:, None]
    activity[:, 3] = torch.from_numpy(of == "rest").float()
    found = specialisation(activity, of, block=10, shuffles=60)
    assert found.names == ["add", "copy", "rest"]
    brute = (activity[of == "add", 0][:, None] > activity[of != "add", 0]).double().mean()
    assert found.selectivity[0, 0] == pytest.approx(float(brute))
    assert found.selectivity[1, 1:3].tolist() == [1.0, 1.0]
    assert found.favourite[1:] == ["copy", "copy", "rest", "copy", "rest", "rest"]
    assert found.selective[:, 1:].any(0).tolist() == [True] * 6
    assert found.selective[:, 0].sum() <= 1
    assert found.sparsity[3] == pytest.approx(0.75)
    assert found.partition["groups"][:2] == [[0, 1, 2, 4], [3, 5, 6]] or [1, 2, 4] in found.partition["groups"]
    assert found.partition["null"]["p"] < 0.05
    alone = specialisation(torch.rand(1000, 5, generator=rng), of, block=10, shuffles=20)
    assert alone.partition["null"]["p"] > 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: skills(m, {"a": data(0)}), "two tasks or more, not by 1"),
        (lambda m: skills(m, {"a": data(0), "b": data(1)}, of={"x": ["c"]}), "'x' is of data sets"),
        (lambda m: skills(m, {"a": data(0), "b": data(1)}, labels="aab"), "each of 4 neurons, not 3"),
        (lambda m: skills(m, {"a": data(0), "b": "text"}), "not str"),  # pyright: ignore[reportArgumentType]
        (lambda m: skills(NONE, {"a": data(0), "b": data(1)}), "a LSTM has no neurons"),
        (lambda m: specialisation(torch.rand(4, 2), ["a"] * 4), "there is only a"),
        (lambda m: specialisation(torch.rand(4, 2), ["a"] * 3), "of the 3 steps"),
    ],
)
def test_mistakes(both: inn.INN, call, message):
    with pytest.raises(InputError, match=message):
        call(both)
