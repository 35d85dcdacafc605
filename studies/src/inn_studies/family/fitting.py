"""Fitting a module to pairs of numbers, for entries whose targets are functions and not sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inn_studies.lab import Lab


def fit(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    lr: float,
    batch: int,
    seed: int,
    changed: Callable[[Tensor], Tensor] = lambda x: x,
) -> None:
    """Minimise the mean squared error of `module(changed(x))` to y by Adam, the rate falling along a cosine.

    Args:
        x, y: `[1, S, ...]`, S examples; a batch is a draw of them.
        changed: applied to the inputs of every batch (noise).
    """
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        at = torch.randint(x.shape[1], (batch,), generator=draw)
        loss = (module(changed(x[:, at])) - y[:, at]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def swept(
    lab: Lab,
    measure: Callable[..., dict[str, Any]],
    case: Mapping[str, Any],
    rates: Sequence[float],
    seeds: int,
    *,
    higher: bool = False,
) -> tuple[float, list[dict[str, Any]]]:
    """The rate at which `measure(lr=, seed=, **case)` is best by `valid` (seed 0), and what it gives there, by seed.

    Args:
        higher: whether more of `valid` is better.
    """
    what = " ".join(map(str, case.values()))
    first = lab.compute(measure, {f"{what} {lr:g}": {**case, "lr": lr, "seed": 0} for lr in rates})
    valid = dict(zip(rates, [found["valid"] for found in first.values()], strict=True))
    best = (max if higher else min)(valid, key=lambda lr: valid[lr])
    cases = {f"{what} {best:g} {seed}": {**case, "lr": best, "seed": seed} for seed in range(seeds)}
    return best, list(lab.compute(measure, cases).values())
