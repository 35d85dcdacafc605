"""Budgets of parameters shared out over groups, against every way there is."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.compress.allocate import dense_step, price_at, spread
from inn.compress.states import dense_size, per_rank

shape = st.tuples(st.integers(2, 6), st.integers(2, 6))


@st.composite
def problems(draw):
    shapes = [[draw(shape)] for _ in range(draw(st.integers(1, 3)))]
    energies = [
        torch.tensor(sorted(draw(st.lists(st.floats(0.0, 1.0), min_size=k, max_size=k)), reverse=True)).double()
        for k in (min(s[0]) for s in shapes)
    ]
    return energies, shapes, draw(st.floats(0.1, 1.0))


def parameters(rank, shapes):
    return dense_size(shapes) if rank is None else rank * per_rank(shapes)


def loss(rank, energies):
    return 0.0 if rank is None else float(energies[rank:].sum())


@given(problems())
def test_the_budget_is_kept_and_little_is_lost(problem):
    energies, shapes, keep = problem
    ranks = spread(energies, shapes, keep, least=0.0)
    budget = keep * sum(parameters(None, s) for s in shapes) + 1e-9
    spent = sum(map(parameters, ranks, shapes))
    assert spent <= budget or ranks == [1] * len(ranks)  # nothing has fewer than one state
    ways = product(*([None, *range(1, len(e) + 1)] for e in energies))
    bests = [sum(map(loss, way, energies)) for way in ways if sum(map(parameters, way, shapes)) <= budget]
    # Greedy along the hull misses at most one step of it.
    step = max(float(e.sum()) for e in energies)
    assert sum(map(loss, ranks, energies)) <= min(bests, default=float("inf")) + step + 1e-9


@given(problems())
def test_all_of_the_budget_leaves_all_dense(problem):
    energies, shapes, _ = problem
    ranks = spread(energies, shapes, 1.0)
    assert sum(map(loss, ranks, energies)) == pytest.approx(0, abs=1e-9)


def test_dense_is_better_from_where_the_step_is_least_steep():
    assert dense_step(torch.tensor([9.0, 1.0, 1.0, 1.0]), [(4, 4)]) == (1, 0.375)
    assert dense_step(torch.tensor([1.0, 1.0, 1.0, 1.0]), [(4, 4)]) == (0, 0.25)  # no direction is worth states
    assert dense_step(torch.tensor([9.0, 0.0, 0.0, 0.0]), [(4, 4)]) == (1, 0.0)  # nothing is left to gain


def test_a_price_is_that_at_which_the_budget_is_spent():
    energies, shapes = [torch.tensor([8.0, 4.0, 2.0, 1.0])] * 2, [[(4, 12)], [(4, 12)]]
    assert price_at(energies, shapes, 16) == pytest.approx(8 / 16)
    assert price_at(energies, shapes, 1) == pytest.approx(8 / 16)
    assert price_at(energies, shapes, 96) < 4 / 16
