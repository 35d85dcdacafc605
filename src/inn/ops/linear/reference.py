"""The maps neuron by neuron: the bar that every backend is held to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def neuron_linear_reference(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, sizes: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """Map `x` `[B, T, N, I]` by `weight` `[P, O, I]` and `bias` `[P, O]`; P is 1 (shared) or N.

    Returns:
        one `[B, T, N, O]`; or, where `sizes` says how the O numbers are shared out, several `[B, T, N, size]`.
    """
    out = []
    for n in range(x.shape[2]):
        p = n if weight.shape[0] > 1 else 0
        y = x[:, :, n] @ weight[p].T
        out.append(y if bias is None else y + bias[p])
    return torch.stack(out, dim=2).split(list(sizes or (weight.shape[1],)), dim=-1)
