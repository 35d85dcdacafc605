"""Looking for the topology that loses least at a budget: groups are merged while that pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from inn.compress.states import dense_size, energies, factorise, lost_energy, per_rank, refit, shapes_of, shared_out
from inn.compress.topologies import BlockGroup


@dataclass(frozen=True)
class Priced:
    """A group at a price per parameter.

    Attributes:
        energies: `[r]`, of its directions, falling.
        cost: what it costs at its best, in energy lost and parameters.
    """

    energies: Tensor
    cost: float


def price(
    weights: Sequence[Tensor], moments: Sequence[Tensor], per_parameter: float, known: Tensor | None = None
) -> Priced:
    """The least that a group costs, energy lost + price x parameters: of the best rank, or dense, which loses nothing.

    Blocks that read the same (moments that are one tensor) lose the energies beyond the rank. Where inputs differ, the
    rank is found on the pooled energies, shared out over the inputs that were pooled; what it then loses is measured
    with each block's own inputs, after the refit.

    Args:
        weights: `[m_b, n_b]` each.
        moments: `[n_b, n_b]` each.
        per_parameter: the price.
        known: the energies of blocks that read the same, where they have been found before.
    """
    shapes = shapes_of(weights)
    each = per_rank(shapes)
    states = None
    if len({id(c) for c in moments}) > 1:
        states = factorise(weights, moments, min(sum(map(len, weights)), max(w.shape[1] for w in weights)))
        carried = shared_out(states.energies, moments)
    else:
        carried = energies(weights, moments) if known is None else known
    rank = max(1, int((carried > per_parameter * each).sum()))
    if states is None:
        left = float(carried[rank:].sum())
    else:
        left = lost_energy(refit(states.cut(rank), weights, moments), weights, moments)
    dense = per_parameter * dense_size(shapes)
    return Priced(carried, min(left + per_parameter * rank * each, dense))


def merged(
    groups: Sequence[BlockGroup],
    cost: Callable[[BlockGroup], float],
    may: Callable[[BlockGroup, BlockGroup], bool] = lambda a, b: True,
) -> list[BlockGroup]:
    """Merge two groups while the best merger saves something; greedy.

    Args:
        groups: to start from.
        cost: what a group costs; called once for every group that is looked at.
        may: whether two groups may be merged.

    >>> costs = {"a": 3, "b": 3, "c": 1, "ab": 4, "ac": 5, "bc": 5, "abc": 9}
    >>> ["".join(group) for group in merged([("a",), ("b",), ("c",)], lambda g: costs["".join(g)])]
    ['c', 'ab']
    """
    now, known = list(groups), {group: cost(group) for group in groups}
    while len(now) > 1:
        best: tuple[float, BlockGroup, BlockGroup, BlockGroup] | None = None
        for a, b in combinations(now, 2):
            if not may(a, b):
                continue
            both = tuple(sorted(a + b))
            if both not in known:
                known[both] = cost(both)
            saved = known[a] + known[b] - known[both]
            if saved > 0 and (best is None or saved > best[0]):
                best = (saved, a, b, both)
        if best is None:
            return now
        _, a, b, both = best
        now = [group for group in now if group not in (a, b)] + [both]
    return now
