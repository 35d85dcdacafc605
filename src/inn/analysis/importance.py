"""How much each neuron is worth to the whole: Shapley values, by sampled orders of the neurons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import torch

from inn.errors import InputError


@dataclass(frozen=True)
class Importance:
    """What each player adds to the whole, on average over the orders in which they join.

    Attributes:
        values: `[N]`, adding up to `whole`.
        errors: `[N]` standard errors, of the orders that were drawn; 0 where all orders were taken.
        whole: the worth of all players less that of none.
        evaluations: coalitions that were valued.
    """

    values: list[float]
    errors: list[float]
    whole: float
    evaluations: int


def importance(worth: Callable[[frozenset[int]], float], players: int, *, pairs: int = 8, seed: int = 0) -> Importance:
    """Shapley values by permutations, each drawn one with its reverse.

    φ_n is the mean over orders of worth(those before n, and n) - worth(those before n) (Shapley 1953; sampled: Castro
    et al. 2009). Every order's differences add up to worth(all) - worth(none), so the values do too, however few orders
    are drawn. An order and its reverse put a player early once and late once: the antithetic pair has less variance
    (Mitchell et al. 2022, arXiv 2104.12199). A coalition that comes again is not valued again, and where there are no
    more orders than would be drawn, all are taken: the values are exact.

    Args:
        worth: of a set of players; higher is better.
        players: how many there are.
        pairs: orders to draw, each with its reverse.
        seed: of the draws.

    Raises `InputError` for no players and for fewer than one pair.

    >>> found = importance(lambda team: 10.0 * (0 in team) + 2.0 * ({1, 2} <= team), players=3)
    >>> [round(v, 6) for v in found.values], found.whole
    ([10.0, 1.0, 1.0], 12.0)
    """
    if players < 1:
        raise InputError(f"players must be at least 1, not {players}")
    if pairs < 1:
        raise InputError(f"pairs must be at least 1, not {pairs}")
    known: dict[frozenset[int], float] = {}

    def value(team: frozenset[int]) -> float:
        if team not in known:
            known[team] = worth(team)
        return known[team]

    def joining(order: tuple[int, ...]) -> torch.Tensor:
        adds, team = torch.zeros(players, dtype=torch.float64), frozenset[int]()
        for n in order:
            larger = team | {n}
            adds[n] = value(larger) - value(team)
            team = larger
        return adds

    whole = value(frozenset(range(players))) - value(frozenset())
    exact = players <= 8 and math.factorial(players) <= 2 * pairs
    drawn = [torch.stack([joining(order) for order in group]).mean(0) for group in _orders(players, pairs, seed, exact)]
    found = torch.stack(drawn)
    spread = found.std(0) / math.sqrt(len(found)) if len(found) > 1 and not exact else torch.zeros(players)
    if len(found) == 1 and not exact:
        spread = torch.full((players,), torch.nan)
    return Importance(found.mean(0).tolist(), spread.tolist(), whole, len(known))


def _orders(players: int, pairs: int, seed: int, exact: bool) -> Iterator[list[tuple[int, ...]]]:
    if exact:
        yield list(permutations(range(players)))
        return
    generator = torch.Generator().manual_seed(seed)
    for _ in range(pairs):
        order = tuple(torch.randperm(players, generator=generator).tolist())
        yield [order, order[::-1]]
