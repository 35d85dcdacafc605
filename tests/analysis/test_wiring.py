"""What numbers for edges tell of a circuit that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import inn
from inn.analysis import edge_sizes, record, wiring
from inn.system.errors import InputError


def test_a_planted_circuit_is_told_in_its_direction_and_not_by_chance():
    rng = np.random.default_rng(0)
    circuit = (rng.random((12, 12)) < 0.2) * rng.choice([-1.0, 1.0], (12, 12))
    found = wiring(np.abs(circuit) + 0.2 * rng.random((12, 12)) + 9 * np.eye(12), circuit, draws=100)
    assert found.auroc == 1.0
    assert found.transposed < 0.7
    assert found.null.p < 0.02
    assert abs(found.null.mean - 0.5) < 0.05
    assert wiring(circuit.T != 0, circuit).transposed == 1.0


def test_the_size_of_an_edge_is_that_of_its_matrix():
    ring = inn.Graph(neurons=5, width=3, rounds=2, topology="ring")
    sizes = edge_sizes(ring)
    there = {(to, source) for _, to, source in (sizes > 0).nonzero().tolist()}
    assert there == {(to, (to + by) % 5) for to in range(5) for by in (-1, 0, 1)}
    graph = inn.Graph(neurons=3, width=2, rounds=1)
    with torch.no_grad():
        graph.get_parameter("rounds.0.router.hear.weight")[2, :, 2:4] = 0.0  # what 2 hears of 1
    assert edge_sizes(graph)[0, 2, 1] == 0
    with record(graph, "routing") as tape:
        graph(torch.randn(1, 9, 6))
    assert tape.connectivity().weights[0, 2, 1] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wiring(np.ones((2, 3)), np.ones((2, 3))), r"not \[2, 3\]"),
        (lambda: wiring(np.eye(3), np.ones((3, 3))), "has all, or none"),
        (lambda: wiring(np.full((3, 3), np.nan), np.eye(3, k=1)), "finite"),
        (lambda: edge_sizes(inn.Graph(neurons=2, width=4, router="attention")), "router 'attention' has no weights"),
        (lambda: edge_sizes(torch.nn.Linear(2, 2)), "has no graph of neurons"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(InputError, match=message):
        call()
