"""Closed-form continuous time as the memory of a neuron (Hasani et al. 2022, arXiv 2106.13898)."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.nn.memory.base import Parts
from inn.nn.memory.recurrent import RecurrentMemory


class Liquid(RecurrentMemory):
    """Two candidates, and a gate between them that time moves: for series whose steps are not equally far apart.

    h = (1 - s) tanh(f) + s tanh(g), s = σ(a dt + b), where f, g, a, b are linear in x and h, and dt is the time since
    the step before. State part: `h` `[B, N, H]`.
    """

    cell = "liquid"
    gates = 4

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
        dt: Tensor | None = None,
        message: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        kind = torch.promote_types(x.dtype, torch.float32)
        dt = torch.ones(x.shape[:2], dtype=kind, device=x.device) if dt is None else dt.to(kind)
        dt = dt if mask is None else dt.masked_fill(~mask, 1)  # whatever it holds there
        return self.run(x, state, reset, mask, present, (*self.weights(), dt), message)
