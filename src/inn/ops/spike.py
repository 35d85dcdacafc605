"""The threshold of spiking units, with a gradient of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inn.ops.derivatives import transformed


def spike(u: Tensor) -> Tensor:
    """1 where u >= 0, else 0; with the gradient of arctan(π u) / π + 1/2, which is 1 / (1 + (π u)²).

    The surrogate gradient of Fang et al. (2021, arXiv 2007.05785), made of PyTorch's own operations: it has derivatives
    of every order.

    >>> u = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> s = spike(u)
    >>> s.tolist(), [round(g, 3) for g in torch.autograd.grad(s.sum(), u)[0].tolist()]
    ([0.0, 1.0, 1.0], [0.092, 1.0, 0.025])
    """
    fired = (u >= 0).to(u.dtype)
    if not torch.is_grad_enabled() and not transformed():
        return fired
    smooth = torch.atan(math.pi * u) / math.pi
    return fired + (smooth - smooth.detach())


def sign(u: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of u; with twice the gradient of `spike`."""
    return spike(u) - spike(-u)
