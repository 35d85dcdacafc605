"""The delta rule as a loop over time: the bar that every backend is held to."""

from __future__ import annotations

import torch
from torch import Tensor


def delta_scan_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor | None,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence one step at a time, in float32 (float64 if `v` is).

    Args:
        q, k: `[B, T, N, G x K]` what is read and where is written; G is H, or 1: the same for all heads of a neuron.
        v: `[B, T, N, H x V]` what is written.
        decay: `[B, T, N, H]` logarithms of α, not above 0.
        beta: `[B, T, N, H]` how much of what was there is replaced; None adds and replaces nothing.
        state: `[B, N, H, K, V]` the transpose of S before the first step.
        reset: `[B, T]` bool, the state starts at zero before these steps.
        mask: `[B, T]` or `[B, T, N]` bool; steps where it is false leave the state unchanged and give zeros.

    Returns:
        y `[B, T, N, H x V]` in the type of `v`, and the state after the last step in float32 (float64 if `v` is).
    """
    kind = torch.promote_types(v.dtype, torch.float32)
    heads, keys, values = state.shape[2:]
    q, k = (t.unflatten(-1, (-1, keys)).expand(*t.shape[:3], heads, keys).to(kind) for t in (q, k))
    v, S, out = v.unflatten(-1, (heads, values)), state.to(kind), []
    for t in range(v.shape[1]):
        if reset is not None:
            S = S.masked_fill(reset[:, t, None, None, None, None], 0)  # a NaN is forgotten, too
        kt, vt, qt = k[:, t, ..., None], v[:, t].to(kind), q[:, t, ..., None]
        kept = decay[:, t].to(kind).exp()[..., None, None] * S
        if beta is not None:
            vt = beta[:, t].to(kind)[..., None] * (vt - (kept * kt).sum(-2))
        new = kept + kt * vt[..., None, :]
        y = (new * qt).sum(-2)
        if mask is not None:
            counts = mask[:, t].view(*mask[:, t].shape, *(1,) * (5 - mask.ndim))
            new, y = torch.where(counts[..., None], new, S), torch.where(counts, y, 0)
        S = new
        out.append(y.flatten(-2))
    return torch.stack(out, dim=1).to(v.dtype), S
