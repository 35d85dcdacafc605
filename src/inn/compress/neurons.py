"""Neurons of a layer as units: in which order they had better be dropped, and what reads the others fitted anew.

A map W reads neurons whose values on a text are the columns of X. Without some of them the map that comes closest to
X W^T in squares is W + W_S B, with B how the neurons S that are gone are told by those that stay: ridge regression, for
which the *moment* C = X^T X is all that has to be known. What is then lost is W_S (P_SS)^-1 W_S^T with P = (C + r)^-1;
for one neuron |w_j|^2 / P_jj. (1 - r P_jj is its ridge leverage, by which MoDeGPT, arXiv 2408.09632, chooses in one
go.) Here the neurons are dropped a few at a time, each time those that cost the least of what is left (the optimal
brain surgeon of Hassibi and Stork 1993, in whole columns as ZipLM has it, arXiv 2302.04089), so that the order is
nested: its first k neurons are what a layer of k neurons keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 1e-2
"""Of the moment's mean diagonal: what keeps neurons that the text hardly uses from being told by others by chance. (On
other rows of its text SmolLM2-135M loses about 1 % less with it than with 1e-3 where 16,384 symbols are read, and as
much where 131,072 are.)"""
AT_ONCE = 32
"""Neurons that are looked at together. What one costs grows, but for rare cases, as others go: so the cheapest of them
go one by one until one costs as much as a neuron beyond them did, and only then all are looked at again.
"""
GOES = 8
"""So many of them before the matrices are made smaller."""


@dataclass(frozen=True)
class Ranking:
    """The neurons of a layer, the most needed first.

    Attributes:
        order: `[n]` int64, their numbers; the first k are what a layer of k neurons keeps.
        energies: `[n]` float64, falling: what of the outputs' squared size goes with each, the last of them first.
    """

    order: Tensor
    energies: Tensor


@dataclass(frozen=True)
class Kept:
    """What is left of a layer's neurons.

    Attributes:
        neurons: `[k]` int64, their numbers, the most needed first.
        weight: `[m, k]`, of the map that reads them from now on.
    """

    neurons: Tensor
    weight: Tensor


@torch.no_grad()
def ranking(weight: Tensor, moment: Tensor, ridge: float = RIDGE, units: int | None = None) -> Ranking:
    """The order in which neurons are worth keeping, found by dropping those that cost the least again and again.

    Args:
        weight: `[m, n]`, of the map that reads the neurons; its rows in units in which errors count alike.
        moment: `[n, n]`, of the neurons on a text.
        ridge: of the moment's mean diagonal.
        units: so many groups of adjacent neurons, as large as each other, that stay or go as one (heads); each neuron
            by itself when None.

    Energies are those of the map that is fitted anew each time, made falling: a neuron that is cheap only once another
    has gone is worth as much as that one.

    >>> found = ranking(torch.tensor([[3.0, 1.0, 2.0]]), torch.eye(3), ridge=0.0)
    >>> found.order.tolist(), found.energies.tolist()
    ([0, 2, 1], [9.0, 4.0, 1.0])
    """
    w, inverse = weight.double().clone(), torch.linalg.inv(_ridged(moment.double(), ridge))
    if units is not None and units < len(moment):
        return _ranking_of(units, w, inverse)
    left = torch.arange(len(moment), device=moment.device)
    gone: list[Tensor] = []
    costs: list[Tensor] = []
    while len(left):
        stay = torch.ones(len(left), dtype=torch.bool, device=left.device)
        for _ in range(min(GOES, len(left))):  # in place; rows and columns of what is gone are taken out afterwards
            cost = (w.square().sum(0) / inverse.diagonal()).where(stay, torch.inf)
            few = cost.argsort()[: int(stay.sum())][: AT_ONCE + 1]
            rest, few = cost[few[AT_ONCE:]], few[:AT_ONCE]
            found, at = _cheapest(w[:, few], inverse[few][:, few], float(rest) if len(rest) else torch.inf)
            out = few[found]
            gone.append(left[out])
            costs.append(at)
            stay[out] = False
            tied = torch.linalg.solve(inverse[out][:, out], inverse[out])
            w.addmm_(w[:, out], tied, alpha=-1)
            inverse.addmm_(inverse[:, out], tied, alpha=-1)
            inverse[out, out] = 1.0  # 0 by now
            if not stay.any():
                break
        left = left[stay]
        w, inverse = w[:, stay], inverse[stay][:, stay]
    return Ranking(torch.cat(gone).flip(0), torch.cat(costs).cummax(0).values.flip(0).clamp(min=0))


@torch.no_grad()
def fitted(weight: Tensor, moment: Tensor, kept: Tensor, ridge: float = RIDGE) -> Tensor:
    """The map `[m, k]` that gives with neurons `kept` what `weight` `[m, n]` gives with all: least squares, a ridge.

    >>> w, x = torch.randn(2, 3), torch.randn(9, 2) @ torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])
    >>> again = fitted(w, x.T @ x, torch.tensor([0, 1]), ridge=1e-9)
    >>> torch.allclose(x[:, :2] @ again.T.float(), x @ w.T, atol=1e-3)
    True
    """
    ridged = _ridged(moment.double(), ridge)[kept]
    return torch.linalg.solve(ridged[:, kept], ridged @ weight.double().T).T


def members(units: Tensor, size: int) -> Tensor:
    """The neurons of some units of `size` adjacent ones: `[k]` int64 -> `[k size]`.

    >>> members(torch.tensor([2, 0]), 2).tolist()
    [4, 5, 0, 1]
    """
    return (units[:, None] * size + torch.arange(size, device=units.device)).flatten()


def _ranking_of(units: int, w: Tensor, inverse: Tensor) -> Ranking:
    """`ranking` of groups of adjacent neurons, one by one: what S costs is the trace of W_S (P_SS)^-1 W_S^T."""
    size = w.shape[1] // units
    gone: list[int] = []
    costs: list[float] = []
    for _ in range(units):
        cost: dict[int, float] = {}
        for unit in sorted({*range(units)} - {*gone}):
            at = slice(unit * size, (unit + 1) * size)
            cost[unit] = float((torch.linalg.solve(inverse[at, at], w[:, at].T) * w[:, at].T).sum())
        least = min(cost, key=lambda unit: cost[unit])
        gone.append(least)
        costs.append(cost[least])
        at = slice(least * size, (least + 1) * size)
        tied = torch.linalg.solve(inverse[at, at], inverse[at])
        w, inverse = w - w[:, at] @ tied, inverse - inverse[:, at] @ tied
    energies = torch.tensor(costs, dtype=torch.float64).cummax(0).values.flip(0).clamp(min=0)
    return Ranking(torch.tensor(gone[::-1]), energies)


def _cheapest(w: Tensor, inverse: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Which of some neurons to drop, one by one while none costs more than `bound`, and what each costs."""
    w, inverse = w.clone(), inverse.clone()
    found: list[Tensor] = []
    costs: list[Tensor] = []
    gone = torch.zeros(len(inverse), dtype=torch.bool, device=w.device)
    for _ in range(len(inverse)):
        cost = (w.square().sum(0) / inverse.diagonal()).where(~gone, torch.inf)
        j = cost.argmin()
        if found and cost[j] > bound:
            break
        found.append(j)
        costs.append(cost[j])
        gone[j] = True
        tied = inverse[j] / inverse[j, j]
        w -= w[:, j, None] * tied
        inverse -= inverse[:, j, None] * tied
        inverse[j, j] = 1.0
    return torch.stack(found), torch.stack(costs)


def _ridged(moment: Tensor, ridge: float) -> Tensor:
    at = ridge * moment.diagonal().mean().clamp_min(1e-30)
    return moment + at * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
