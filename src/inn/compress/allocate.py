"""Sharing out a budget of parameters over groups."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from inn.compress.states import dense_size, per_rank, rank_for

Shapes = Sequence[tuple[int, int]]


def spread(
    energies: Sequence[Tensor],
    shapes: Sequence[Shapes],
    keep: float,
    least: float = 0.2,
    units: Collection[int] = (),
) -> list[int | None]:
    """The ranks that lose the least energy for a share of the parameters: the best direction first, wherever it is.

    A direction of a group costs sum(m) + max(n) parameters and carries its energy. Energies fall within a group, so
    taking the best ratio each time is optimal up to the last direction. Dense weights, sum(m n) parameters that lose
    nothing, are the last step of a group, from the rank of `dense_step`: of more states than that, it would be better
    dense.

    Args:
        energies: `[r]` of every group, falling, in a unit common to all.
        shapes: (outputs, inputs) of the blocks of every group.
        keep: the share of all their parameters, in (0, 1].
        least: of the rank that an even share would give, every group keeps at least this much.
        units: the numbers of the groups that are made of units, of which they have as many as energies.

    Returns the rank of every group, None where it is better left dense; together they cost at most the share, or the
    least there can be.
    """
    sizes = [dense_size(s) for s in shapes]
    costs = [size / len(energies[g]) if g in units else per_rank(shapes[g]) for g, size in enumerate(sizes)]
    most = [len(e) if g in units else min(len(e), rank_for(1.0, shapes[g])) for g, e in enumerate(energies)]
    even = [keep * top if g in units else rank_for(keep, shapes[g]) for g, top in enumerate(most)]
    ranks = [max(1, min(top, int(least * rank))) for rank, top in zip(even, most)]
    left = keep * sum(sizes) - sum(rank * cost for rank, cost in zip(ranks, costs))
    turns = [
        (-1, 0.0) if g in units else dense_step(e, s, rank)
        for g, (e, s, rank) in enumerate(zip(energies, shapes, ranks))
    ]
    dense: set[int] = set()
    waiting: list[tuple[float, int]] = []

    def offer(g: int) -> None:
        """The next step of a group: a direction, or all that is left of it."""
        rank, (turn, ratio) = ranks[g], turns[g]
        if rank == turn:
            heapq.heappush(waiting, (-ratio, g))
        elif rank < most[g]:
            heapq.heappush(waiting, (-float(energies[g][rank]) / costs[g], g))

    for g in range(len(ranks)):
        offer(g)
    while waiting:
        _, g = heapq.heappop(waiting)
        whole = ranks[g] == turns[g][0]
        cost = sizes[g] - ranks[g] * costs[g] if whole else costs[g]
        if cost <= left:
            left -= cost
            if whole:
                dense.add(g)
            else:
                ranks[g] += 1
                offer(g)
        elif whole:  # what is left does not do for that, but may for more states
            turns[g] = (-1, 0.0)
            offer(g)
    dense |= {g for g in units if ranks[g] == most[g]}
    return [None if g in dense else rank for g, rank in enumerate(ranks)]


def dense_step(energies: Tensor, shapes: Shapes, least: int = 0) -> tuple[int, float]:
    """The rank from which a group had better be dense than have more states, and the energy per parameter of that step.

    It is the rank, of at least `least`, at which the step to dense is the least steep: up to there every direction is
    worth more by the parameter, beyond it every one is worth less.

    >>> dense_step(torch.tensor([9.0, 1.0, 1.0, 1.0]), [(4, 4)])
    (1, 0.375)
    """
    cost, size = per_rank(shapes), dense_size(shapes)
    tails = torch.cat([energies.flip(0).cumsum(0).flip(0), energies.new_zeros(1)])
    room = size - cost * torch.arange(len(tails))
    inside = torch.arange(len(tails))[(room > 0)][least:]
    if not len(inside):
        return least, 0.0
    ratios = tails[inside] / room[inside]
    best = int(ratios.argmin())
    return int(inside[best]), float(ratios[best])


def price_at(energies: Sequence[Tensor], shapes: Sequence[Shapes], budget: float) -> float:
    """The price per parameter at which groups of these energies, each as it is best there, cost `budget` parameters."""
    ratios, sizes = [], []
    for e, s in zip(energies, shapes):
        cost, (turn, ratio) = per_rank(s), dense_step(e, s)
        ratios += [e[:turn] / cost, e.new_full((1,), ratio)]
        rest = dense_size(s) - turn * cost
        sizes += [e.new_full((turn,), float(cost)), e.new_full((1,), float(rest))]
    order = torch.cat(ratios).argsort(descending=True)
    last = int((torch.cat(sizes)[order].cumsum(0) <= budget).sum())
    return float(torch.cat(ratios)[order[min(last, len(order) - 1)]])
