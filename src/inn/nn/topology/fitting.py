"""Signatures that are fitted to a graph: near each other where it has an edge, far where it has none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS, RATE, MARGIN = 1000, 0.05, 0.1
"""Of Adam; the margin is what distances keep from the threshold."""


def distances(signatures: Tensor) -> Tensor:
    """1 - cos of signatures `[N, W]`, `[N, N]`."""
    directions = F.normalize(signatures, dim=-1)
    return 1 - directions @ directions.T


def fit(pairs: Sequence[tuple[int, int]], neurons: int, width: int, tau: float, seed: int = 0) -> Tensor:
    """Signatures `[N, W]` whose distances are below `tau` for these pairs of neurons and above it for all others.

    The hinge losses of both by Adam, after Neural Attentive Circuits (arXiv 2210.08031). Where W is small there may be
    none that fit all pairs.
    """
    with torch.enable_grad(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        signatures = torch.randn(neurons, width).requires_grad_()
        joined = torch.zeros(neurons, neurons, dtype=torch.bool)
        if pairs:
            to, source = torch.tensor(pairs).T
            joined[to, source] = joined[source, to] = True
        others = ~torch.eye(neurons, dtype=torch.bool)
        sign = torch.where(joined, 1.0, -1.0)
        optimizer = torch.optim.Adam([signatures], RATE)
        for _ in range(STEPS):
            # relu(d - (tau - m)) where there is an edge, relu((tau + m) - d) where there is none
            loss = F.relu(sign * (distances(signatures) - tau) + MARGIN)[others].sum()
            if not float(loss.detach()):
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return F.normalize(signatures.detach(), dim=-1)
