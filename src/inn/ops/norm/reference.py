"""The norm neuron by neuron: the bar that every backend is held to."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-5


def neuron_norm_reference(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Bring `x` `[B, T, N, D]` to mean 0 and deviation 1 over D, then scale and shift (Ba et al. 2016, equation 4).

    `weight` and `bias` are `[P, D]`; P is 1 (shared) or N. Computed in float32 at least, returned in the type of `x`.
    """
    kind = torch.promote_types(x.dtype, torch.float32)
    out = []
    for n in range(x.shape[2]):
        p = n if weight.shape[0] > 1 else 0
        row = x[:, :, n].to(kind)
        centred = row - row.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + EPSILON).sqrt()
        out.append(centred / deviation * weight[p] + bias[p])
    return torch.stack(out, dim=2).to(x.dtype)
