"""The maps as one matrix product, batched over neurons when each has its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.ops.derivatives import again


def neuron_linear_torch(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, sizes: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """See `neuron_linear_reference`. With separate weights the result is laid out neuron by neuron in memory.

    The batched product takes any strides whose last one is 1, so neither input nor output is copied: what one map
    writes neuron by neuron the next one reads the same way, and the shape stays `[B, T, N, ...]` throughout.
    """
    if weight.shape[0] == 1:
        y = F.linear(x, weight[0], None if bias is None else bias[0])
    else:
        per_neuron = x.flatten(0, 1).transpose(0, 1)  # [N, B*T, I]
        matrix = weight.transpose(1, 2)
        y = torch.bmm(per_neuron, matrix) if bias is None else torch.baddbmm(bias[:, None], per_neuron, matrix)
        y = y.transpose(0, 1).unflatten(0, x.shape[:2])
    return y.split(list(sizes), dim=-1) if sizes else (y,)


def again_linear(
    x: Tensor, weight: Tensor, bias: torch.dtype | None, gradients: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """`again` for a map whose bias was of a type, or was none; its numbers do not matter."""
    start = None if bias is None else weight.new_zeros(weight.shape[:2], dtype=bias).requires_grad_()
    sizes = [g.shape[-1] for g in gradients]
    return again(lambda x, weight, bias: neuron_linear_torch(x, weight, bias, sizes), (x, weight, start), gradients)
