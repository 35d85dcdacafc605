"""The scan as a loop over time: the bar that every backend is held to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan_reference(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence one step at a time, in float32 (float64 if `x` is).

    Args:
        x: `[B, T, N, E]` input of the memory.
        dt: `[B, T, N, E]` step sizes before the softplus, bias included.
        A: `[P, E, S]` negative decay rates; P is 1 (shared) or N.
        B, C: `[B, T, N, S]` what is written and what is read.
        D: `[P, E]` the direct path.
        z: `[B, T, N, E]` the output gate before the SiLU.
        state: `[B, N, E, S]` before the first step.
        reset: `[B, T]` bool, the state starts at zero before these steps.
        mask: `[B, T]` bool, steps where it is false leave the state unchanged.

    Returns:
        y `[B, T, N, E]` in the type of `x`, and the state after the last step in float32 (float64 if `x` is).
    """
    kind = torch.promote_types(x.dtype, torch.float32)
    out = []
    h = state.to(kind)
    for t in range(x.shape[1]):
        xt, zt = x[:, t].to(kind), z[:, t].to(kind)
        step = F.softplus(dt[:, t].to(kind))
        if mask is not None:
            step = step * mask[:, t, None, None]
        if reset is not None:
            h = h.masked_fill(reset[:, t, None, None, None], 0)  # a NaN is forgotten, too
        h = torch.exp(step[..., None] * A) * h + (step * xt)[..., None] * B[:, t, :, None, :].to(kind)
        y = (h * C[:, t, :, None, :].to(kind)).sum(-1) + D * xt
        out.append(y * F.silu(zt))
    return torch.stack(out, dim=1).to(x.dtype), h
