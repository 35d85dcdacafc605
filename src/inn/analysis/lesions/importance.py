"""How much each neuron is worth to the whole: Shapley values, by sampled orders of the neurons."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import torch

from inn.system.errors import InputError


@dataclass(frozen=True)
class Importance:
    """What each player adds to the whole, on average over the orders in which they join.

    Attributes:
        values: `[N]`, adding up to `whole`.
        errors: `[N]` standard errors from the orders that were drawn; 0 where all orders were counted.
        whole: the worth of all players less that of none.
        coalitions: how many were valued.
    """

    values: list[float]
    errors: list[float]
    whole: float
    coalitions: int


def importance(worth: Callable[[frozenset[int]], float], players: int, *, pairs: int = 16, seed: int = 0) -> Importance:
    """Shapley values by permutations, each drawn one with its reverse.

    φ_n is the mean over orders of worth(those before n, and n) - worth(those before n) (Shapley 1953; sampled: Castro
    et al. 2009). Every order's differences add up to worth(all) - worth(none), so the values do too, however few orders
    are drawn. An order and its reverse put a player early once and late once: the antithetic pair has less variance
    (Mitchell et al. 2022, arXiv 2104.12199). No coalition is valued twice, and where there are no more coalitions than
    the orders would come to, 2 x pairs x players, all of them are valued: the values are then exact.

    Args:
        worth: of a set of players; higher is better.
        players: how many there are.
        pairs: orders to draw, each with its reverse; at least 2, for an error.
        seed: of the draws.

    Raises `InputError` for no players and for fewer than two pairs.

    >>> found = importance(lambda team: 10.0 * (0 in team) + 2.0 * ({1, 2} <= team), players=3)
    >>> [round(v, 6) for v in found.values], found.whole
    ([10.0, 1.0, 1.0], 12.0)
    """
    if players < 1:
        raise InputError(f"players must be at least 1, not {players}")
    if pairs < 2:
        raise InputError(f"pairs must be at least 2, not {pairs}")
    known: dict[frozenset[int], float] = {}

    def value(team: frozenset[int]) -> float:
        if team not in known:
            known[team] = worth(team)
        return known[team]

    whole = value(frozenset(range(players))) - value(frozenset())
    if players < 24 and 2**players <= 2 * pairs * players:
        values, errors = _exact(value, players), [0.0] * players
    else:
        values, errors = _sampled(value, players, pairs, seed)
    return Importance(values, errors, whole, len(known))


def _exact(value: Callable[[frozenset[int]], float], players: int) -> list[float]:
    """The mean over all orders, coalition by coalition: s! (N - s - 1)! / N! of them have those s before n."""
    found = []
    for n in range(players):
        others = [m for m in range(players) if m != n]
        total = 0.0
        for size in range(players):
            share = 1 / (players * math.comb(players - 1, size))
            for team in map(frozenset, combinations(others, size)):
                total += share * (value(team | {n}) - value(team))
        found.append(total)
    return found


def _sampled(
    value: Callable[[frozenset[int]], float], players: int, pairs: int, seed: int
) -> tuple[list[float], list[float]]:
    """Means over pairs of orders, and their standard errors."""
    generator = torch.Generator().manual_seed(seed)
    adds = torch.zeros(pairs, players, dtype=torch.float64)
    for p in range(pairs):
        order = torch.randperm(players, generator=generator).tolist()
        for one in (order, order[::-1]):
            team = frozenset[int]()
            for n in one:
                larger = team | {n}
                adds[p, n] += 0.5 * (value(larger) - value(team))
                team = larger
    return adds.mean(0).tolist(), (adds.std(0) / math.sqrt(pairs)).tolist()
