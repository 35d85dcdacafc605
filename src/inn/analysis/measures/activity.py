"""How active neurons are (arXiv 2511.22813, appendix A.2).

Activity here is the root mean square, over its width, of what a neuron's memory adds at a symbol (the tape's channel
`activity`), in the units of the residual stream, which training is free to choose. The paper does not define its own.
A threshold on it means the same for every model only after `relative`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def relative(activity: Tensor) -> Tensor:
    """Activity in units of its round's mean over symbols and neurons: `[..., symbols, N]` -> the same; 1 is average.

    >>> relative(torch.tensor([[1.0, 3.0], [2.0, 2.0]])).tolist()
    [[0.5, 1.5], [1.0, 1.0]]
    """
    mean = activity.mean((-2, -1), keepdim=True)
    return activity / mean.clamp_min(torch.finfo(activity.dtype).tiny)


def sparsity(activity: Tensor, threshold: float = 0.1) -> Tensor:
    """Share of neuron-symbol pairs whose activity is below `threshold`: `[..., symbols, N]` -> `[...]`, in 0..1.

    >>> sparsity(torch.tensor([[0.05, 3.0], [2.0, 2.0]])).item()
    0.25
    """
    return (activity < threshold).double().mean((-2, -1))
