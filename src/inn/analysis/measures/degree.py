"""Who is heard, and how many sources a neuron listens to (arXiv 2511.22813, appendix A.3).

All are functions of routing weights `w[..., i, j] >= 0`, the share of what neuron i hears that comes from neuron j
(rows sum to 1), averaged over heads; over time too, or symbol by symbol. The two differ: a neuron that listens to one
source at a time, but to each in turn, has degree 1 at every symbol and degree N on average.
"""

from __future__ import annotations

import torch
from torch import Tensor


def received(weights: Tensor) -> Tensor:
    """Weight that each neuron receives from all listeners, `[..., N_to, N_from]` -> `[..., N_from]`; mean 1.

    Hubs receive more than 1.5, specialists less than 0.6.

    >>> received(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.5, 0.5]
    """
    total = weights.sum(-2)
    return total / total.mean(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def shares(weights: Tensor) -> Tensor:
    """Routing weights `[..., N_to, N_from]` with rows that sum to 1; a row of zeros stays one.

    >>> shares(torch.tensor([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [0.0, 0.0]]
    """
    return weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def effective_degree(weights: Tensor) -> Tensor:
    """Sources that a neuron effectively listens to, exp(-Σ_j w_ij ln w_ij): `[..., N_to, N_from]` -> `[..., N_to]`.

    1 = a single source, N = all alike; rows are normalised to sum to 1.

    >>> [round(d, 6) for d in effective_degree(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).tolist()]
    [2.0, 1.0]
    """
    return torch.special.entr(shares(weights)).sum(-1).exp()


def thresholded_degree(weights: Tensor, share: float = 0.5) -> Tensor:
    """Sources whose weight exceeds `share` of the uniform weight 1/N: `[..., N_to, N_from]` -> `[..., N_to]`.

    Uniform attention has degree N. The paper gives degrees without a definition; half of the uniform weight counts an
    edge as there when it carries at least half of what it would carry by chance.

    >>> thresholded_degree(torch.tensor([[0.5, 0.5], [0.9, 0.1]])).tolist()
    [2.0, 1.0]
    """
    return (weights > share / weights.shape[-1]).to(weights.dtype).sum(-1)
