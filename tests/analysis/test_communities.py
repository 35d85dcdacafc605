"""Communities of graphs whose groups are known, and of graphs that have none."""

from __future__ import annotations

from importlib.util import find_spec

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from inn.analysis import Connectivity
from inn.analysis.measures.communities import agreement, communities, expected, modularity, rewired
from inn.analysis.measures.louvain import louvain
from inn.system.errors import InputError

LEIDEN = pytest.param(
    "leiden", marks=pytest.mark.skipif(find_spec("leidenalg") is None, reason="leidenalg is not installed")
)


def planted(groups: list[list[int]], inside: float = 1.0, between: float = 0.2, seed: int = 0) -> np.ndarray:
    """Weights with these groups and some noise; neurons also hear themselves, far louder than others."""
    neurons = sum(map(len, groups))
    weights = np.full((neurons, neurons), between)
    for group in groups:
        weights[np.ix_(group, group)] = inside
    weights *= np.random.default_rng(seed).uniform(0.8, 1.2, weights.shape)
    np.fill_diagonal(weights, 50.0)
    return weights


@pytest.mark.parametrize("method", ["louvain", LEIDEN])
def test_two_planted_communities_are_found_and_are_no_chance(method):
    groups = [[0, 2, 4, 6, 8], [1, 3, 5, 7]]
    found = communities(torch.from_numpy(planted(groups)), draws=60, method=method)
    assert found["groups"] == groups
    assert found["method"] == method
    assert found["null"]["p"] < 0.02
    assert found["null"]["observed"] == found["modularity"] > found["null"]["high"] > found["null"]["mean"]


def test_who_listens_to_whom_counts_in_either_direction():
    weights = np.zeros((6, 6))
    for group in ([0, 3, 4], [1, 2, 5]):  # each a ring: i hears only the next
        for to, source in zip(group, group[1:] + group[:1]):
            weights[to, source] = 1.0
    found = communities(weights, draws=5, method="louvain")
    assert found["groups"] == [[0, 3, 4], [1, 2, 5]]
    assert found["modularity"] == pytest.approx(0.6)  # 6 edges of 1 and 6 of 0 within, 1/5 expected of each


@pytest.mark.slow
def test_no_communities_in_graphs_without_any():
    rng = np.random.default_rng(0)
    many = [communities(rng.random((8, 8)), seed, draws=40, method="louvain")["null"]["p"] for seed in range(20)]
    assert sum(p < 0.05 for p in many) <= 3
    hub = rng.random((10, 10)) + 0.5
    hub[:, 3] *= 20  # everyone listens to one: strengths differ, groups there are none
    assert communities(hub, draws=40, method="louvain")["null"]["p"] > 0.05
    uniform = communities(np.ones((6, 6)), draws=10, method="louvain")
    assert uniform["modularity"] == pytest.approx(0, abs=1e-12)
    assert uniform["null"]["p"] == 1.0


def test_nobody_talks():
    assert communities(np.eye(3)) | {"method": ""} == {
        "groups": [[0], [1], [2]],
        "modularity": 0.0,
        "null": {"observed": 0.0, "mean": 0.0, "high": 0.0, "p": 1.0},
        "method": "",
    }
    assert communities([[1.0]])["groups"] == [[0]]


def test_a_star_and_a_pair():
    star = np.zeros((5, 5))
    star[1:, 0] = 1.0  # all hear one, which hears all
    star[0, 1:] = 0.25
    found = communities(star, draws=10, method="louvain")
    assert np.isfinite(found["modularity"])
    assert found["null"]["p"] > 0.05
    pair = communities([[0.0, 1.0], [3.0, 0.0]], draws=10, method="louvain")
    assert pair["modularity"] == pytest.approx(0, abs=1e-9)  # two neurons: hearing the other is all that there is


def test_the_same_seed_gives_the_same_answer_and_scale_does_not_matter():
    weights = planted([[0, 1, 2], [3, 4, 5]], inside=0.6)
    first, again = (communities(weights, 3, draws=20) for _ in range(2))
    assert first == again
    scaled = communities(weights * 1000, 3, draws=20)
    assert scaled["groups"] == first["groups"]
    assert scaled["modularity"] == pytest.approx(first["modularity"])


@given(st.integers(0, 1000), st.integers(3, 9))
def test_the_null_keeps_every_strength(seed, neurons):
    rng = np.random.default_rng(seed)
    weights = rng.random((neurons, neurons)) + 0.05
    np.fill_diagonal(weights, 0.0)
    other = rewired(weights, rng)
    np.testing.assert_allclose(other.sum(0), weights.sum(0), rtol=1e-4)
    np.testing.assert_allclose(other.sum(1), weights.sum(1), rtol=1e-4)
    assert not other.diagonal().any()
    if neurons > 3:  # of three neurons the strengths leave one graph a circle's worth of choice
        assert not np.allclose(other, weights)


def test_modularity_is_that_of_networkx_with_the_diagonal_that_chance_expects():
    weights = planted([[0, 1, 2], [3, 4, 5, 6]], seed=4)
    np.fill_diagonal(weights, 0.0)
    chance = expected(weights)
    off = ~np.eye(7, dtype=bool)
    for axis in (0, 1):
        np.testing.assert_allclose((chance * off).sum(axis), weights.sum(axis))
    filled = weights + np.diag(chance.diagonal())
    graph = nx.from_numpy_array(filled.T, create_using=nx.DiGraph)
    for groups in ([[0, 1, 2], [3, 4, 5, 6]], [[0, 5], [1, 2, 3], [4, 6]]):
        theirs = nx.community.modularity(graph, groups) * filled.sum() / weights.sum()
        assert modularity(weights, groups) == pytest.approx(theirs)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_the_search_finds_as_much_as_that_of_networkx(form):
    ours, theirs = [], []
    for seed in range(6):
        weights = np.random.default_rng(seed).random((40, 40)) ** 4  # what chance makes of it, itself included
        graph = nx.from_numpy_array(weights.T, create_using=nx.DiGraph)
        ours.append(nx.community.modularity(graph, louvain(form(weights), seed)))
        theirs.append(nx.community.modularity(graph, nx.community.louvain_communities(graph, seed=seed)))
    assert np.mean(ours) >= np.mean(theirs)


@pytest.mark.parametrize("method", ["louvain", LEIDEN])
def test_faint_communities_of_few_neurons_are_found(method):
    groups = [[0, 1, 2, 3], [4, 5, 6, 7]]
    clear = np.where(np.kron(np.eye(2), np.ones((4, 4))) > 0, 0.12, 0.1)
    found = communities(clear * np.random.default_rng(1).uniform(0.97, 1.03, (8, 8)), draws=60, method=method)
    assert found["groups"] == groups
    assert found["null"]["p"] < 0.02


def test_agreement():
    ours = [[0, 1, 2], [3, 4, 5]]
    assert agreement(ours, [[5, 4, 3], [2, 1, 0]]) == 1.0
    assert agreement([[0], [1], [2]], [[2], [0], [1]]) == 1.0
    # by hand: 2 pairs together in both, 6 and 3 together, of 15: (2 - 1.2) / (4.5 - 1.2)
    assert agreement(ours, [[0, 1], [2, 3], [4, 5]]) == pytest.approx(0.8 / 3.3)
    rng = np.random.default_rng(0)
    chance = []
    for _ in range(300):
        order = rng.permutation(12).tolist()
        chance.append(agreement([list(range(6)), list(range(6, 12))], [order[:4], order[4:]]))
    assert abs(np.mean(chance)) < 0.05


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((2, 3)), r"as many to as from, not \[2, 3\]"),
        (np.ones((2, 3, 3)), r"not \[2, 3, 3\]"),
        (np.ones((0, 0)), r"not \[0, 0\]"),
        ([[0.0, -1.0], [1.0, 0.0]], "not below 0"),
        ([[0.0, float("nan")], [1.0, 0.0]], "finite"),
    ],
)
def test_mistakes(weights, message):
    with pytest.raises(InputError, match=message):
        communities(weights)


def test_partitions_of_different_neurons():
    for other in ([[0, 1]], [[0, 1], [1, 2]], [[0, 1], [3]]):
        with pytest.raises(InputError, match="match the models first"):
            agreement([[0, 1], [2]], other)


@pytest.mark.skipif(find_spec("leidenalg") is not None, reason="leidenalg is installed")
def test_leiden_is_optional():
    assert communities(np.ones((3, 3)), draws=1)["method"] == "louvain"
    with pytest.raises(InputError, match=r"pip install 'inn-torch\[leiden\]'"):
        communities(np.ones((3, 3)), method="leiden")


def sparse_of(weights: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array(weights)


def sprinkled(neurons: int, groups: int, across: float, seed: int = 0) -> np.ndarray:
    """Weights within equal groups, and a few across."""
    rng = np.random.default_rng(seed)
    group = np.arange(neurons) // (neurons // groups)
    there = (group[:, None] == group) | (rng.random((neurons, neurons)) < across)
    return there * rng.uniform(0.5, 1.5, there.shape) * ~np.eye(neurons, dtype=bool)


def test_sparse_weights_are_told_what_the_matrix_is():
    weights = sprinkled(24, 4, 0.1)
    few = communities(sparse_of(weights), draws=9, method="louvain")
    many = communities(weights, draws=9, method="louvain")
    assert few["groups"] == many["groups"] == [list(range(i, i + 6)) for i in range(0, 24, 6)]
    assert few["modularity"] == pytest.approx(many["modularity"], rel=1e-9)
    assert few["null"]["p"] == many["null"]["p"] == 0.1
    sources = torch.arange(24).expand(24, -1)
    recorded = Connectivity(torch.from_numpy(weights).expand(2, -1, -1), 1, sources)
    assert communities(recorded, draws=0)["groups"] == few["groups"]


def test_a_sparse_null_has_the_strengths_and_other_places():
    weights = sparse_of(sprinkled(40, 4, 0.1))
    other = rewired(weights, np.random.default_rng(0))
    np.testing.assert_allclose(other.sum(1), weights.sum(1), rtol=1e-6)
    np.testing.assert_allclose(other.sum(0), weights.sum(0), rtol=1e-6)
    assert other.nnz == weights.nnz
    assert not other.diagonal().any()
    assert (other.astype(bool) != weights.astype(bool)).nnz > weights.nnz / 4


def test_draws_end_when_the_p_value_is_decided():
    told = []
    rng = np.random.default_rng(3)
    weights = sparse_of((rng.random((30, 30)) < 0.3) * 1.0)
    found = communities(weights, draws=200, method="louvain", report=lambda *done: told.append(done))
    assert found["null"]["p"] > 0.05
    assert len(told) - 1 < 200  # the last one says that it is done
    assert found["null"]["p"] == pytest.approx(10 / (len(told) - 1))


@pytest.mark.parametrize("bad", [np.ones((2, 3)), np.array([[0, -1.0], [1, 0]]), np.array([[0, np.nan], [1, 0]])])
def test_bad_sparse_weights_are_refused(bad: np.ndarray):
    with pytest.raises(InputError, match="communities need weights"):
        communities(sparse_of(bad))
