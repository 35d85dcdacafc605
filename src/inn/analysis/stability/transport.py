"""How neuronal states change from one group to the next (S4, reconstructed)."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.system.errors import InputError


def transport(one: Tensor, other: Tensor) -> dict[str, float]:
    """What it takes to turn one group's input states into another's: T = Q_one^+ Q_other, least squares.

    A reconstruction: the code that belongs to *Neuronal Group Communication* (arXiv 2510.16851) speaks of a transport
    from group to group, and does not compute it. All numbers here are the same whichever sign a state has, or whatever
    rotation of the states spans the same directions; the trace of T is not, and is left out.

    Args:
        one, other: `[n, k]` input states of two groups that read the same n numbers; k may differ.

    Returns:
        - `norm`: the largest singular value of T, how much the largest message grows on the way;
        - `flatness`: geometric over arithmetic mean of the squared singular values, 1 where all directions are carried
          alike;
        - `overlap`: the share of the smaller span that lies in the other, mean squared cosine of the principal angles,
          1 for the same directions; and `chance`, what two random spans of these sizes have.

    Raises `InputError` for states of different widths.

    >>> states = torch.randn(16, 4)
    >>> {name: round(value, 4) for name, value in transport(states, states[:, [1, 0, 3, 2]]).items()}
    {'norm': 1.0, 'flatness': 1.0, 'overlap': 1.0, 'chance': 0.25}
    """
    if one.ndim != 2 or other.ndim != 2 or len(one) != len(other):
        raise InputError(f"states must be [n, k] of one n, not {list(one.shape)} and {list(other.shape)}")
    one, other = one.double(), other.double()
    carried = torch.linalg.svdvals(torch.linalg.lstsq(one, other, driver="gelsd").solution).square()
    spans = [torch.linalg.qr(q).Q for q in (one, other)]
    cosines = torch.linalg.svdvals(spans[0].T @ spans[1])
    tiny = torch.finfo(carried.dtype).tiny
    return {
        "norm": float(carried.max().sqrt()),
        "flatness": float(carried.clamp_min(tiny).log().mean().exp() / carried.mean().clamp_min(tiny)),
        "overlap": float(cosines.square().mean()),
        "chance": max(one.shape[1], other.shape[1]) / len(one),
    }
