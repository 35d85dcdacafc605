"""Sharing out a budget of parameters over groups."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from torch import Tensor

from inn.compress.states import per_rank, rank_for

Shapes = Sequence[tuple[int, int]]


def spread(energies: Sequence[Tensor], shapes: Sequence[Shapes], keep: float, least: float = 0.2) -> list[int]:
    """The ranks that lose the least energy for a share of the parameters: the best direction first, wherever it is.

    A direction of a group costs sum(m) + max(n) parameters and carries its energy. Energies fall within a group, so
    taking the best ratio each time is optimal up to the last direction.

    Args:
        energies: `[r]` of every group, falling, in a unit common to all.
        shapes: (outputs, inputs) of the blocks of every group.
        keep: the share of all their parameters, in (0, 1].
        least: of the rank that an even share would give, every group keeps at least this much.

    Returns the rank of every group; together they cost at most the share, or the least there can be.
    """
    costs = [per_rank(s) for s in shapes]
    budget = keep * sum(m * n for s in shapes for m, n in s)
    # A group of full rank costs more than its dense weights; beyond them there is nothing to gain.
    most = [min(len(e), rank_for(1.0, s)) for e, s in zip(energies, shapes)]
    ranks = [max(1, min(top, int(least * rank_for(keep, s)))) for s, top in zip(shapes, most)]
    left = budget - sum(rank * cost for rank, cost in zip(ranks, costs))
    waiting = [(-float(e[rank]) / c, g) for g, (e, c, rank) in enumerate(zip(energies, costs, ranks)) if rank < most[g]]
    heapq.heapify(waiting)
    while waiting:
        _, g = heapq.heappop(waiting)
        if costs[g] > left:
            continue
        ranks[g] += 1
        left -= costs[g]
        if ranks[g] < most[g]:
            heapq.heappush(waiting, (-float(energies[g][ranks[g]]) / costs[g], g))
    return ranks
