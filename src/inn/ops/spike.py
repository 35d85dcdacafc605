"""The threshold of spiking units, with a gradient of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def spike(v: Tensor) -> Tensor:
    """One where `v` is at least 0, else zero; backward as if it were arctan(πv)/π + ½, whose slope is 1/(1 + (πv)²).

    The surrogate gradient of the arctangent (Fang et al. 2021, arXiv 2007.05785). Made of PyTorch's own operations, it
    has derivatives of every order, and the result is exactly 0 or 1.

    >>> v = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> s = spike(v)
    >>> s.tolist(), [round(g, 3) for g in torch.autograd.grad(s.sum(), v)[0].tolist()]
    ([0.0, 1.0, 1.0], [0.092, 1.0, 0.025])
    """
    fired = (v >= 0).to(v.dtype)
    if not torch.is_grad_enabled():
        return fired
    smooth = torch.atan(math.pi * v) / math.pi + 0.5
    return smooth + (fired - smooth).detach()  # no rounding: `smooth` is in [½, 1] where a unit fires, and else below


def sign(v: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of `v`, exactly; backward twice the slope of `spike`."""
    return spike(v) - spike(-v)
