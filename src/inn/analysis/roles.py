"""Whether neurons have roles: who is heard, and by whom, against shuffled identities."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from inn.analysis.controls.shuffle import shuffled_identities, shuffled_sources
from inn.analysis.measures.degree import shares
from inn.analysis.observe import Observed

SHUFFLED = 8_000_000
"""Shares that are shuffled for a test of the edges, about: so many draws are made."""
DRAWN = 64
"""Neurons up to which one shuffle of the edges is kept, to be shown."""


def roles(seen: Observed, seed: int = 0) -> dict[str, Any] | None:
    """Two tests (`inn.analysis.Null`, as plain data), None without a router.

    Args:
        seen: one look at a text.
        seed: of the shuffles.

    Returns `hubs`: how unequally neurons are heard, against shuffled identities; `edges`: how far the sources of a
    listener differ, against sources shuffled in every stretch, with the `map` `[N, N]` of one shuffle, over rounds
    (None of many neurons).
    """
    if seen.maps is None:
        return None
    assert seen.received is not None
    hubs = shuffled_identities(seen.received, _spread, axes=1, seed=seed)  # who is heard is all that it moves
    each = shares(seen.maps).cpu()
    numbers = torch.arange(each.shape[2])
    sources = numbers if seen.sources is None else seen.sources.cpu()
    others = (each.sum((0, 1)) > 0) & (sources != numbers[:, None])
    draws = max(99, min(1000, SHUFFLED // max(1, each.numel())))
    edges, one = shuffled_sources(each, others, draws=draws, seed=seed)
    shown = seen.sources is None and len(numbers) <= DRAWN
    return {"hubs": asdict(hubs), "edges": {**asdict(edges), "map": one.tolist() if shown else None}}


def _spread(totals: Tensor) -> float:
    """How unequally neurons are heard: the standard deviation of `received`, from `[N]` weight received."""
    return float((totals / totals.mean().clamp_min(1e-300)).std(correction=0))
