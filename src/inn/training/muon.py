"""Muon (Jordan et al. 2024) for stacks of matrices, and AdamW for everything else, as one optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that Newton-Schulz iterates: Jordan's, those of `torch.optim.Muon`."""
ITERATIONS = 5
RMS = 0.2
"""Root mean square of an update over the rate: about AdamW's, so that one rate suits both (arXiv 2502.16982)."""


class Muon(torch.optim.AdamW):
    """AdamW, but for the groups that have a `form` (O, K, I), whose parameters are matrices `[O, I]`, K side by side.

    Each matrix takes a step of its own: the Nesterov momentum of its gradient, made orthogonal
    (`orthogonal`), times `rate x 0.2 sqrt(max(O, I))`. On a single matrix that is `torch.optim.Muon` with
    `adjust_lr_fn="match_rms_adamw"`, which takes parameters of two axes alone, and came in PyTorch 2.9; weight decay is
    the same. The sum is in the weights' own precision, not in bfloat16.

    Args:
        params: parameters or groups, as `inn.training.optim.parameter_groups(model, decay, matrices=True)` makes them.
        lr, betas, weight_decay, fused: as AdamW has them.
        momentum: the rate at which the mean gradient of a matrix forgets.

    >>> weight = torch.nn.Parameter(torch.zeros(3, 2, 2))  # three matrices
    >>> optimizer = Muon([{"params": [weight], "form": (2, 1, 2)}], lr=1.0, weight_decay=0.0)
    >>> weight.grad = torch.eye(2).expand(3, 2, 2) * torch.tensor([1.0, 10.0, 0.1])[:, None, None]
    >>> optimizer.step()
    >>> weight[:, 0, 0].allclose(weight[0, 0, 0].expand(3), atol=1e-4)  # however large the gradient is
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        fused: bool | None = None,
    ):
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
        for group in self.param_groups:
            if "form" in group:
                group.setdefault("momentum", momentum)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take a step; returns what `closure` gives, the loss."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        every = self.param_groups
        for group in every:
            if "form" in group:
                for p in group["params"]:
                    if p.grad is not None:
                        self._move(p, group)
        self.param_groups = [group for group in every if "form" not in group]
        try:
            super().step()
        finally:
            self.param_groups = every
        return loss

    def _move(self, p: Tensor, group: dict[str, Any]) -> None:
        state, form = self.state[p], group["form"]
        if not state:  # PyTorch's AdamW, which loads and stores all states, wants a `step` in each
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        state["step"] += 1
        mean = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])  # type: ignore[arg-type]
        ahead = p.grad.lerp(mean, group["momentum"])  # type: ignore[union-attr]
        change = orthogonal(ahead.reshape(-1, *form).transpose(1, 2)).transpose(1, 2).reshape(p.shape)
        rate = group["lr"] * RMS * math.sqrt(max(form[0], form[2]))
        p.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """The orthogonal matrix next to each of `[..., O, I]`, roughly: singular values of about 0.7 to 1.2.

    Five iterations of Newton and Schulz, X ← a X + (b A + c A²) X with A = X Xᵀ, for all matrices at once. A matrix of
    zeros stays one, and so do rows and columns of zeros.

    >>> found = orthogonal(torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0)))
    >>> found.shape, bool((torch.linalg.svdvals(found) - 1).abs().max() < 0.4)
    (torch.Size([5, 4, 3]), True)
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # the smaller product
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
