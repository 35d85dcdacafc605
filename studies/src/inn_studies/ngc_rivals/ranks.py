"""Rivals that factorise as SVD-LLM does, and share out ranks in another way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inn.compress import Outcome
    from inn.compress.allocate import Shapes
    from inn.compress.passes import Passes
    from inn.compress.topologies import BlockGroup

    Allocate = Callable[[Passes, Sequence[BlockGroup], float], list[int | None]]

BETA = 0.35
"""Of the parameters of queries and keys, what goes to the values; the paper's best are 0.3 to 0.4."""


def svd_llm_v2(model: nn.Module, rows: Tensor, keep: float, roles: str | None = None) -> Outcome:
    """SVD-LLM v2 (arXiv 2503.12340), in place: of a type of weight, those that would lose more lose fewer parameters.

    Its truncation (two SVDs in place of Cholesky's decomposition) has the least loss there is for a rank, and so has
    `inn.compress.states.factorise`.

    Args:
        model: a decoder of Hugging Face's.
        rows: `[S, T]` int64, the text.
        keep: the share of the parameters of all projections, or of `roles`.
    """
    return allocated(model, rows, keep, roles, by_loss)


def d_rank(model: nn.Module, rows: Tensor, keep: float, roles: str | None = None) -> Outcome:
    """D-Rank (arXiv 2509.25622) for models with grouped keys, one layer a group: ranks by effective rank, in place.

    Queries and keys give a part of theirs to the values (`BETA`), counted in parameters. As the authors' code has it,
    gates keep even ranks, and so do outputs, up and down where these lose less in sum (stories260K, all at 80 %: 22.6
    with that, 24.6 without). A weight whose states would have as many parameters as itself stays dense, which costs the
    same and loses nothing. What the paper does besides where 40 % or more go, calibrating on what the compressed layers
    give, is left out: it is worse here (all at 60 %: 93 with that, 78 without).

    Args: as `svd_llm_v2` has them.
    """
    return allocated(model, rows, keep, roles, by_effective_rank)


def allocated(model: nn.Module, rows: Tensor, keep: float, roles: str | None, allocate: Allocate) -> Outcome:
    """SVD-LLM with ranks that `allocate` says, None where a weight stays dense."""
    from inn.compress import PLANS, compress
    from inn.compress.passes import Passes

    with patch.object(Passes, "ranks", allocate):
        return compress(model, rows, PLANS["svd-llm"], keep, roles=roles)


def by_loss(passes: Passes, groups: Sequence[BlockGroup], keep: float) -> list[int | None]:
    """SVD-LLM v2's algorithm 1: within a type a weight loses the share N R l_i / sum(l) with l = 1 / log L.

    L is the norm of what the outputs would lose if every weight lost the share R. It is log(1 + L) here: the same
    where losses are large, as they are in the paper (1e7), and positive where they are not.
    """
    from inn.compress.states import dense_size, per_rank, rank_for

    shapes, spectra = [passes.shapes(group) for group in groups], whole_spectra(passes, groups)
    wanted = [0.0] * len(groups)
    for mine in _types(groups):
        losses = [float(spectra[g][rank_for(keep, shapes[g]) :].sum().sqrt()) for g in mine]
        sizes = [dense_size(shapes[g]) for g in mine]
        weights = [size / math.log1p(max(loss, 1e-12)) for size, loss in zip(sizes, losses)]
        most = [size - per_rank(shapes[g]) for g, size in zip(mine, sizes)]
        gone = filled(weights, (1 - keep) * sum(sizes), most)
        for g, size, less in zip(mine, sizes, gone):
            wanted[g] = size - less
    return whole_ranks(wanted, shapes)


def by_effective_rank(passes: Passes, groups: Sequence[BlockGroup], keep: float) -> list[int | None]:
    """D-Rank's ranks: within a type sum(R / k) is least at a budget, k ~ sqrt(R / cost), R the effective rank."""
    from inn.compress.states import dense_size, per_rank

    shapes, spectra = [passes.shapes(group) for group in groups], whole_spectra(passes, groups)
    sizes = [float(dense_size(s)) for s in shapes]
    wanted = [0.0] * len(groups)
    for mine in _types(groups):
        weights = [math.sqrt(effective_rank(spectra[g]) * per_rank(shapes[g])) for g in mine]
        most = [sizes[g] for g in mine]
        given = filled(weights, keep * sum(most), most)
        role, even = groups[mine[0]][0].role, [keep * size for size in most]
        of = [(shapes[g], spectra[g]) for g in mine]
        if role == "g" or (role not in "qkv" and _lost(even, of) <= _lost(given, of)):
            given = even
        for g, parameters in zip(mine, given):
            wanted[g] = parameters
    roles = [group[0].role for group in groups]
    if {"q", "k", "v"} <= set(roles):
        values = [g for g, role in enumerate(roles) if role == "v"]
        givers = [g for g, role in enumerate(roles) if role in "qk"]
        offered = BETA * sum(wanted[g] for g in givers)
        room = [sizes[g] - wanted[g] for g in values]
        taken = filled([1.0] * len(values), min(offered, sum(room)), room)
        for g, more in zip(values, taken):
            wanted[g] += more
        for g in givers:  # what the values have no room for stays where it was
            wanted[g] *= 1 - BETA * sum(taken) / offered
    return whole_ranks(wanted, shapes)


def effective_rank(energies: Tensor) -> float:
    """The exponential of the entropy of energies `[r]` (squared singular values) as shares of their sum.

    >>> import torch
    >>> round(effective_rank(torch.tensor([2.0, 2.0, 2.0, 0.0])), 6)
    3.0
    """
    import torch

    shares = energies / energies.sum().clamp_min(1e-30)
    return float(torch.special.entr(shares).sum().exp())


def whole_spectra(passes: Passes, groups: Sequence[BlockGroup]) -> list[Tensor]:
    """The energies of every group, on all of the text."""
    from inn.compress.states import energies

    found = {i: energies(one.weights, one.moments) for i, one in passes.sections(groups, "energies")}
    return [found[i] for i in range(len(groups))]


def filled(weights: Sequence[float], budget: float, most: Sequence[float]) -> list[float]:
    """A budget shared out in proportion to weights, of which nobody gets more than there is room for.

    >>> filled([1.0, 1.0, 2.0], 10.0, [1.0, 9.0, 9.0])
    [1.0, 3.0, 6.0]
    """
    given, open_ = [0.0] * len(weights), list(range(len(weights)))
    while open_:
        unit = (budget - sum(given)) / sum(weights[i] for i in open_)
        full = [i for i in open_ if weights[i] * unit >= most[i]]
        for i in full or open_:
            given[i] = most[i] if full else weights[i] * unit
        open_ = [i for i in open_ if i not in full] if full else []
    return given


def whole_ranks(wanted: Iterable[float], shapes: Sequence[Shapes]) -> list[int | None]:
    """Ranks of so many parameters each, rounded so that their sum stays; None for as many as dense weights have."""
    from inn.compress.states import dense_size, per_rank

    wanted, costs, sizes = list(wanted), [per_rank(s) for s in shapes], [dense_size(s) for s in shapes]
    dense = {g for g, (want, size) in enumerate(zip(wanted, sizes)) if want >= size * (1 - 1e-9)}
    ranks = [max(1, int(want / cost)) for want, cost in zip(wanted, costs)]
    part = [g for g in range(len(ranks)) if g not in dense]
    left = sum(wanted[g] - ranks[g] * costs[g] for g in part)
    for g in sorted(part, key=lambda g: ranks[g] - wanted[g] / costs[g]):
        if costs[g] <= left:
            ranks[g] += 1
            left -= costs[g]
    return [None if g in dense else rank for g, rank in enumerate(ranks)]


def _lost(given: Sequence[float], of: Sequence[tuple[Shapes, Tensor]]) -> float:
    """The energy that states of so many parameters each lose; dense weights lose none."""
    from inn.compress.states import dense_size, per_rank

    lost = [
        float(energies[max(1, int(parameters / per_rank(shapes))) :].sum())
        for parameters, (shapes, energies) in zip(given, of)
        if parameters < dense_size(shapes) * (1 - 1e-9)
    ]
    return sum(lost)


def _types(groups: Sequence[BlockGroup]) -> list[list[int]]:
    """The numbers of the groups of each type of weight."""
    types: dict[str, list[int]] = {}
    for g, group in enumerate(groups):
        types.setdefault(group[0].role, []).append(g)
    return list(types.values())
