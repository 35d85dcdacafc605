"""How alike two neurons are: linear CKA of what they say over the same text."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.system.errors import InputError

_SAMPLES = 4096


def cka(ours: Tensor, theirs: Tensor) -> Tensor:
    """Linear CKA of every neuron of one population with every neuron of another: `[N, M]` float64, 0..1.

    CKA (Kornblith et al. 2019, eq. 5), ‖X'Y‖² / (‖X'X‖ ‖Y'Y‖) of centred outputs X and Y, compares what two neurons
    say over time, blind to each one's own basis and scale; 1 = the same up to those. A neuron that never changes is
    unlike every other: 0.

    Args:
        ours, theirs: `[B, T, N, D]` and `[B, T, M, E]` over the same symbols; more than 4096 are thinned out evenly.

    Raises `InputError` where the two are not of the same symbols, at least two.

    >>> x = torch.randn(1, 100, 1, 8)
    >>> round(cka(x, 3 - 2 * x).item(), 6)
    1.0
    """
    if ours.ndim != 4 or theirs.ndim != 4 or ours.shape[:2] != theirs.shape[:2] or ours.shape[:2].numel() < 2:
        shapes = f"{list(ours.shape)} and {list(theirs.shape)}"
        raise InputError(
            f"neurons are compared on [batch, time, neuron, width] of the same two or more symbols, not on {shapes}"
        )
    x, y = _centred(ours), _centred(theirs)
    samples = x.shape[1]
    if samples < min(x.shape[2], y.shape[2]):  # compare in the smaller space: samples x samples, or width x width
        gram_x, gram_y = ((z @ z.mT).flatten(1) for z in (x, y))
        similar, size_x, size_y = gram_x @ gram_y.T, gram_x.norm(dim=1), gram_y.norm(dim=1)
    else:
        similar = torch.stack([(neuron.T @ y).square().sum((1, 2)) for neuron in x])
        size_x, size_y = ((z.mT @ z).flatten(1).norm(dim=1) for z in (x, y))
    return similar / _alive(size_x)[:, None] / _alive(size_y)


def _centred(outputs: Tensor) -> Tensor:
    x = outputs.detach().flatten(0, 1).double()
    x = x[:: -(-x.shape[0] // _SAMPLES)].transpose(0, 1)  # [N, samples, D]
    return x - x.mean(1, keepdim=True)


def _alive(size: Tensor) -> Tensor:
    """Infinite for neurons that do not change, so that what is divided by it is 0."""
    return torch.where(size > 1e-12 * size.max().clamp_min(1e-300), size, torch.inf)
