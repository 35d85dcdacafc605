"""The loop in Python: the bar that every backend is held to."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.loop.cells import CELLS
from inn.ops.tensors import exact


def recurrence_reference(
    cell: str,
    x: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    *weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run a cell one step at a time, in float32 (float64 if `x` is).

    Args:
        cell: its name, of `CELLS`.
        x: `[B, T, N, I]` what goes into each step, biases included.
        state: `[B, N, S, H]` before the first step.
        reset: `[B, T]` bool, the state starts at zero before these steps.
        mask: `[B, T]` or, neuron by neuron, `[B, T, N]` bool; steps where it is false leave the state unchanged and
            put out zeros, whatever `x` holds there.
        weights: as the cell takes them.

    Returns:
        y `[B, T, N, H]` in the type of `x`, and the state after the last step in float32 (float64 if `x` is).
    """
    kind = torch.promote_types(x.dtype, torch.float32)
    given = [w.to(kind) for w in weights]
    timed = cell == "liquid"
    if mask is not None:
        mask = mask.expand(x.shape[:2]) if mask.ndim == 2 else mask
        mask = mask[..., None].expand(x.shape[:3]) if mask.ndim == 2 else mask
        x = x.masked_fill(~mask[..., None], 0)
    out, state = [], state.to(kind)
    if not x.shape[1]:
        return x.new_empty(*x.shape[:3], state.shape[3]), state
    with exact(x):
        for t in range(x.shape[1]):
            if reset is not None:
                state = state.masked_fill(reset[:, t, None, None, None], 0)  # a NaN is forgotten, too
            own = [*given[:-1], given[-1][:, t, None, None]] if timed else given
            y, new = CELLS[cell].step(x[:, t].to(kind), state.unbind(2), *own)
            new = torch.stack(new, 2)
            if mask is not None:
                there = mask[:, t, :, None]
                y, new = y.masked_fill(~there, 0), torch.where(there[..., None], new, state)
            state = new
            out.append(y)
    return torch.stack(out, 1).to(x.dtype), state
