"""The convolution as a loop over time and streams: the bar that every backend is held to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def causal_conv_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Convolve each channel with its own K taps over the last K inputs, then SiLU.

    Args:
        x: `[B, T, N, E]`.
        weight: `[P, E, K]`, oldest tap first; P is 1 (shared) or N.
        bias: `[P, E]`.
        state: `[B, N, K-1, E]` the inputs before the first step, oldest first.
        reset: `[B, T]` bool, earlier inputs are forgotten (zero) before these steps.
        mask: `[B, T]` bool, steps where it is false enter no window (their output is zero).

    Returns:
        y `[B, T, N, E]` and the state after the last step.
    """
    batch = []
    last = []
    for b in range(x.shape[0]):
        past = state[b].to(x.dtype)  # [N, K-1, E]
        rows = []
        for t in range(x.shape[1]):
            if reset is not None and reset[b, t]:
                past = torch.zeros_like(past)
            if mask is not None and not mask[b, t]:
                rows.append(torch.zeros_like(x[b, t]))
                continue
            window = torch.cat((past, x[b, t, :, None]), dim=1)  # [N, K, E]
            rows.append(F.silu((window * weight.transpose(1, 2)).sum(1) + bias))
            past = window[:, 1:]
        batch.append(torch.stack(rows))
        last.append(past)
    return torch.stack(batch).to(x.dtype), torch.stack(last).to(state.dtype)
