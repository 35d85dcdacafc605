"""Shapley values of games whose values are known."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.analysis.lesions.importance import importance
from inn.system.errors import InputError


def game(players, seed):
    """A game whose every coalition is worth something drawn at random."""
    worths = torch.rand(2**players, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    return lambda team: worths[sum(1 << n for n in team)]


@given(st.integers(1, 5), st.integers(0, 99))
def test_exact_values_are_the_mean_over_all_orders(players, seed):
    worth, orders = game(players, seed), list(permutations(range(players)))
    by_hand = [0.0] * players
    for order in orders:
        for i, n in enumerate(order):
            by_hand[n] += (worth(frozenset(order[: i + 1])) - worth(frozenset(order[:i]))) / len(orders)
    found = importance(worth, players)
    assert found.values == pytest.approx(by_hand)
    assert found.errors == [0.0] * players
    assert found.coalitions == 2**players


@given(st.integers(6, 12), st.integers(0, 99), st.integers(2, 4))
def test_sampled_values_add_up_whatever_is_drawn(players, seed, pairs):
    found = importance(game(players, seed), players, pairs=pairs, seed=seed)
    assert sum(found.values) == pytest.approx(found.whole)
    assert found.coalitions <= 2 + 2 * pairs * (players - 1)
    assert found == importance(game(players, seed), players, pairs=pairs, seed=seed)


def test_the_errors_say_how_far_off_they_are():
    worth = game(7, 0)
    exact, within = importance(worth, 7, pairs=16).values, 0
    for seed in range(40):
        found = importance(worth, 7, pairs=8, seed=seed)
        assert min(found.errors) > 0
        within += sum(abs(v - e) <= 2.5 * s for v, e, s in zip(found.values, exact, found.errors, strict=True))
    assert within >= 0.85 * 7 * 40


def test_what_adds_on_its_own_is_known_at_once_and_who_adds_nothing_gets_nothing():
    found = importance(lambda team: sum(2.0**n for n in team if n != 3), 9, pairs=2)
    assert found.values == pytest.approx([0.0 if n == 3 else 2.0**n for n in range(9)])
    assert found.errors == pytest.approx([0.0] * 9)


def test_pairs_that_only_work_together_share_alike_in_every_pair_of_orders():
    """Of an order and its reverse each of two partners comes second once: antithetic orders have no error here."""
    found = importance(lambda team: 1.0 * ({2, 5} <= team), 10, pairs=2)
    assert found.values == pytest.approx([0.5 if n in (2, 5) else 0.0 for n in range(10)])
    assert found.errors == pytest.approx([0.0] * 10)


def test_mistakes():
    with pytest.raises(InputError, match="players must be at least 1"):
        importance(len, 0)
    with pytest.raises(InputError, match="pairs must be at least 2"):
        importance(len, 3, pairs=1)
