"""Which neuron of one model is which neuron of another, so that "neuron 7" means something beyond one seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inn.analysis.controls.shuffle import Null, relabelled
from inn.analysis.measures.communities import agreement, communities
from inn.analysis.measures.degree import received
from inn.analysis.measures.similarity import cka
from inn.system.errors import InputError


@dataclass(frozen=True)
class Matching:
    """The partner of every neuron of one model among the neurons of another."""

    order: list[int]
    """Neuron n of ours is neuron `order[n]` of theirs; -1 where theirs are fewer and none is left."""
    similarity: list[float]
    """CKA of each pair, on text that the pairs were not chosen on; 0 without a partner."""
    null: Null
    """Its mean over the pairs, against pairs drawn at random."""


def match(ours: Tensor, theirs: Tensor, *, draws: int = 1000, seed: int = 0) -> Matching:
    """Match the neurons of two models one to one, by what they say over the same text.

    The pairs with the largest CKA in all (Hungarian method, Kuhn 1955) on the first half of the symbols; how alike they
    are is measured on the second, so that choosing the best costs nothing. The null pairs neurons at random: a small p
    says that there are counterparts, not that training made them. For that, match untrained models too.

    Args:
        ours, theirs: outputs `[B, T, N, D]` and `[B, T, M, E]` over the same symbols, at least four (record "outputs":
            `tape.last_outputs`).
        draws: random pairings, from `seed`.

    Raises `InputError` where the two are not of the same symbols, or these are too few.

    >>> x = torch.randn(2, 100, 4, 8)
    >>> match(x, x[:, :, [2, 0, 3, 1]]).order
    [1, 3, 0, 2]
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and few who import this package match

    symbols = ours.shape[:2].numel()
    if symbols < 4:
        raise InputError(
            f"neurons are matched on half of a text and compared on the rest; {symbols} symbols are too few"
        )
    if ours.shape[:2] != theirs.shape[:2]:
        shapes = f"{list(ours.shape[:2])} and {list(theirs.shape[:2])}"
        raise InputError(f"neurons are matched on the same [batch, time] of symbols, not on {shapes}")
    first, second = (
        cka(*(x.flatten(0, 1)[part][None] for x in (ours, theirs))).numpy()
        for part in (slice(symbols // 2), slice(symbols // 2, None))
    )
    size = max(first.shape)  # those without a partner get a made-up one, like nobody
    chosen = linear_sum_assignment(_padded(first, size), maximize=True)[1]
    held_out = _padded(second, size)
    pairs = min(first.shape)

    def mean(order: np.ndarray) -> float:
        return float(held_out[np.arange(size), order].sum() / pairs)

    partners = [int(n) if n < first.shape[1] else -1 for n in chosen[: first.shape[0]]]
    alike = [float(held_out[n, chosen[n]]) for n in range(first.shape[0])]
    return Matching(partners, alike, permuted(mean, chosen, draws, seed))


def same_roles(
    order: Sequence[int], ours: Tensor, theirs: Tensor, *, draws: int = 1000, seed: int = 0
) -> dict[str, Null]:
    """Whether matched neurons of two models play the same parts.

    Args:
        order: of a `Matching` in which every neuron has a partner.
        ours, theirs: connectivity `[N_to, N_from]` of each model (a recording's, averaged over rounds).
        draws: random orders for the null, from `seed`; communities are found in each model once.

    Returns:
        Each with neurons paired at random as its null: `received`, the correlation of the attention that neurons
        receive; `edges`, that of the weights between different neurons; `communities`, the adjusted Rand index of the
        groups. A constant correlates with nothing: 0.

    Raises `InputError` for models of different size and for an order that is not one of all neurons.

    >>> weights = torch.rand(6, 6)
    >>> round(same_roles([1, 2, 3, 4, 5, 0], weights, weights.roll((1, 1), (0, 1)))["edges"].observed, 6)
    1.0
    """
    neurons = len(order)
    if sorted(order) != list(range(neurons)) or not ours.shape == theirs.shape == (neurons, neurons):
        raise InputError(
            f"roles are compared where each of {ours.shape[-1]} neurons has a partner among as many; "
            f"the order {list(order)} does not give each one"
        )
    ours, theirs = ours.double(), theirs.double()
    off = ~torch.eye(neurons, dtype=torch.bool)
    groups, others = (communities(weights, seed, draws=0)["groups"] for weights in (ours, theirs))

    def heard(at: np.ndarray) -> float:
        return _correlation(received(ours), received(theirs)[at])

    def edges(at: np.ndarray) -> float:
        return _correlation(ours[off], relabelled(theirs[None], torch.from_numpy(at)[None], axes=2)[0][off])

    def grouped(at: np.ndarray) -> float:
        ours_of = np.argsort(at)  # their neuron m is our neuron ours_of[m]
        return agreement(groups, [[int(ours_of[m]) for m in group] for group in others])

    statistics = {"received": heard, "edges": edges, "communities": grouped}
    at = np.array(order)
    return {name: permuted(statistic, at, draws, seed) for name, statistic in statistics.items()}


def permuted(statistic: Callable[[np.ndarray], float], order: np.ndarray, draws: int = 1000, seed: int = 0) -> Null:
    """Test a statistic of an order of the neurons, `[N]` a permutation, against orders drawn at random.

    >>> permuted(lambda order: float((order == np.arange(8)).mean()), np.arange(8)).p < 0.01
    True
    """
    rng = np.random.default_rng(seed)
    return Null.of(statistic(order), [statistic(rng.permutation(len(order))) for _ in range(draws)])


def _padded(similar: np.ndarray, size: int) -> np.ndarray:
    return np.pad(similar, [(0, size - n) for n in similar.shape])


def _correlation(a: Tensor, b: Tensor) -> float:
    sizes = a.norm() * b.norm()
    a, b = a - a.mean(), b - b.mean()
    scale = a.norm() * b.norm()
    return (a @ b / scale).item() if scale > 1e-12 * sizes else 0.0
