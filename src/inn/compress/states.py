"""Neuronal states of trained weights: one factorisation that SVD, its whitened kin and neuronal groups are points of.

A weight is an interaction of two states, W[j, i] = q_out[j] . q_in[i]. The blocks of a group share q_in and keep q_out
to themselves. What is lost is measured where it matters, in the outputs: a block b with inputs X_b (rows) loses
||X_b (W_b - Q_out,b Q_in^T)^T||^2, for which X_b^T X_b, its *moment*, is all that has to be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class States:
    """The states of a group.

    Attributes:
        inputs: `[n, k]`, shared by all blocks; n is the largest number of inputs of a block.
        outputs: one `[m_b, k]` per block.
        energies: `[r]` falling: what of the outputs' total squared size each of the group's directions carries, as the
            pooled moment counts it; the first k are kept.
    """

    inputs: Tensor
    outputs: tuple[Tensor, ...]
    energies: Tensor

    def cut(self, rank: int) -> States:
        """The first `rank` of them."""
        return States(self.inputs[:, :rank], tuple(q[:, :rank] for q in self.outputs), self.energies)

    @property
    def rank(self) -> int:
        """k."""
        return self.inputs.shape[1]

    def weight(self, block: int, inputs: int) -> Tensor:
        """The dense weight `[m_b, n_b]` that the states amount to."""
        return self.outputs[block] @ self.inputs[:inputs].T


def rank_for(keep: float, shapes: Sequence[tuple[int, int]]) -> int:
    """States per neuron such that a group keeps a share of its blocks' parameters (NGC, released code).

    k = round(keep sum(m n) / (sum(m) + max(n))), at least 1 and at most full.

    Args:
        keep: in (0, 1].
        shapes: (outputs m, inputs n) of every block.

    >>> rank_for(0.5, [(576, 576)]), rank_for(0.5, [(576, 576), (192, 576), (192, 576)])
    (144, 180)
    """
    outputs, inputs = sum(m for m, _ in shapes), max(n for _, n in shapes)
    wanted = round(keep * dense_size(shapes) / per_rank(shapes))
    return max(1, min(wanted, outputs, inputs))


def shapes_of(weights: Iterable[Tensor]) -> list[tuple[int, int]]:
    """(outputs, inputs) of weights `[m, n]`."""
    return [(len(w), w.shape[1]) for w in weights]


def dense_size(shapes: Sequence[tuple[int, int]]) -> int:
    """Parameters of dense blocks of these (outputs m, inputs n): sum(m n)."""
    return sum(m * n for m, n in shapes)


def per_rank(shapes: Sequence[tuple[int, int]]) -> int:
    """Parameters that a group of these (outputs m, inputs n) has for each of its k states: sum(m) + max(n)."""
    return sum(m for m, _ in shapes) + max(n for _, n in shapes)


def factorise(weights: Sequence[Tensor], moments: Sequence[Tensor], rank: int) -> States:
    """The best k states for a group whose blocks' inputs are pooled: float64, no inverse, no Cholesky.

    With W all weights on top of each other and C the sum of the moments, Q_out are the k first eigenvectors of
    W C W^T and Q_in = W^T Q_out. A group of one block is SVD-LLM (arXiv 2403.07378), one of the same projection in
    adjacent layers Basis Sharing (arXiv 2410.03765); moments that are the identity give plain SVD, diagonal ones FWSVD
    and ASVD. Blocks with fewer inputs than the widest are padded with zeros.

    Args:
        weights: `[m_b, n_b]` each.
        moments: `[n_b, n_b]` each, symmetric and positive semi-definite; of any rank.
        rank: k, from 1 to the smaller of sum(m) and max(n).

    Returns the states in float64, on the weights' device.

    Raises `ValueError` for a rank that is out of range.

    >>> w = torch.randn(6, 4)
    >>> states = factorise([w], [torch.eye(4)], 4)
    >>> torch.allclose(states.weight(0, 4), w.double())
    True
    """
    stacked, moment = _stacked(weights), _pooled(moments)
    full = min(stacked.shape)
    if not 1 <= rank <= full:
        raise ValueError(f"rank must be from 1 to {full}, not {rank}")
    outputs, energies = _directions(stacked, moment)
    outputs = outputs[:, :rank]
    sizes = [len(w) for w in weights]
    return States(stacked.T @ outputs, outputs.split(sizes), energies)


def refit(states: States, weights: Sequence[Tensor], moments: Sequence[Tensor]) -> States:
    """Each block's own states anew, the best there are for its own inputs beside the shared ones.

    Q_out,b = W_b C_b Q_in (Q_in^T C_b Q_in)^+: least squares; where pooling pretended that every block sees every
    input, this corrects it (Basis Sharing, section 3.4, has the same algebra).
    """
    return States(states.inputs, fitted_to(states.inputs, weights, moments), states.energies)


def fitted_to(inputs: Tensor, weights: Sequence[Tensor], moments: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Each block's own states `[m_b, k]`, the best there are beside given shared ones `[max n, k]`."""
    outputs = []
    for w, c in zip(weights, moments, strict=True):
        q, w, c = inputs[: w.shape[1]], w.double(), c.double()
        outputs.append(_solve(q.T @ c @ q, q.T @ c @ w.T).T)
    return tuple(outputs)


def lost(states: States, weights: Sequence[Tensor], moments: Sequence[Tensor]) -> list[float]:
    """The share of each block's output energy that its states lose: 0 is exact, 1 as bad as silence."""
    whole = [energy(w.double(), c) for w, c in zip(weights, moments, strict=True)]
    return [gone / all_ if all_ > 0 else 0.0 for gone, all_ in zip(_gone(states, weights, moments), whole)]


def lost_energy(states: States, weights: Sequence[Tensor], moments: Sequence[Tensor]) -> float:
    """The output energy that a group's states lose, every block counted on its own inputs."""
    return sum(_gone(states, weights, moments))


def energies(weights: Sequence[Tensor], moments: Sequence[Tensor]) -> Tensor:
    """What every direction of a group carries, falling, float64: rank k loses the sum from k on.

    Exact for one block, and for several that have the same moment (the same tensor). Where moments differ, pooling
    counts every block on all of them, and the mean over them is an estimate.
    """
    stacked, moment = _stacked(weights), _pooled(moments)
    if len(stacked) <= len(moment):
        small = stacked @ moment @ stacked.T
    else:  # the same values from the smaller side
        root = _root(moment)
        small = root.T @ (stacked.T @ stacked) @ root
    return shared_out(torch.linalg.eigvalsh(small).flip(0).clamp(min=0), moments)


def shared_out(energies: Tensor, moments: Sequence[Tensor]) -> Tensor:
    """Pooled energies as one input's share of them."""
    return energies / len(moments)


def _gone(states: States, weights: Sequence[Tensor], moments: Sequence[Tensor]) -> list[float]:
    blocks = enumerate(zip(weights, moments, strict=True))
    return [energy(w.double() - states.weight(b, w.shape[1]), c) for b, (w, c) in blocks]


def energy(weight: Tensor, moment: Tensor) -> float:
    """The output energy of a block, ||X W^T||^2."""
    return float(((weight @ moment.double()) * weight).sum())


def _stacked(weights: Sequence[Tensor]) -> Tensor:
    """All weights on top of each other, `[sum m, max n]`, float64."""
    inputs = max(w.shape[1] for w in weights)
    return torch.cat([torch.nn.functional.pad(w.double(), (0, inputs - w.shape[1])) for w in weights])


def _pooled(moments: Sequence[Tensor]) -> Tensor:
    """The sum of the blocks' moments, `[max n, max n]`, float64."""
    inputs = max(len(c) for c in moments)
    pooled = torch.zeros(inputs, inputs, dtype=torch.float64, device=moments[0].device)
    for c in moments:
        pooled[: len(c), : len(c)] += c
    return (pooled + pooled.T) / 2


def _directions(stacked: Tensor, moment: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal output directions `[sum m, r]` and their energies `[r]`, the largest first; r is the full rank."""
    m, n = stacked.shape
    if m <= n:
        found, directions = torch.linalg.eigh(stacked @ moment @ stacked.T)
        return directions.flip(1), found.flip(0).clamp(min=0)
    # Fewer inputs than outputs: the same directions from the smaller side, W C^1/2 = U S V^T.
    directions, sizes, _ = torch.linalg.svd(stacked @ _root(moment), full_matrices=False)
    return directions, sizes.square()


def _root(moment: Tensor) -> Tensor:
    """R with R R^T = C for a moment C of any rank."""
    values, vectors = torch.linalg.eigh(moment)
    return vectors * values.clamp(min=0).sqrt()


def _solve(a: Tensor, b: Tensor) -> Tensor:
    """a^+ b for a symmetric positive semi-definite `a`, however deficient."""
    values, vectors = torch.linalg.eigh((a + a.T) / 2)
    kept = values > values[-1] * len(a) * torch.finfo(a.dtype).eps
    inverse = torch.where(kept, 1 / values.where(kept, torch.ones_like(values)), 0)
    return vectors @ (inverse[:, None] * (vectors.T @ b))
