"""Small numbers in little room: bytes, deflated, as text that JSON can hold."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

STEPS = (255, 180, 127, 90, 63, 45, 31)
"""Steps from zero to the largest routing weight that are tried, best first, before only the strongest are kept."""
DENSE_NEURONS = 64
"""Populations up to this size keep all of their edges, where these fit."""
STRONGEST = 8
"""Sources kept per listener, at most, where not all are."""
LARGE, LEAST = 256, 4
"""Neurons from which a page shows groups first; of so many this many sources are kept, and the passage is shorter."""


def packed(values: np.ndarray) -> str:
    """An array's bytes in C order, deflated (zlib) and in base64.

    >>> len(packed(np.zeros(1000, np.uint8)))
    24
    """
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 6)).decode("ascii")


def in_steps(values: np.ndarray, scale: np.ndarray, steps: int = 255) -> np.ndarray:
    """Values from 0 to `scale` in equal steps, rounded: uint8 of the same shape.

    >>> in_steps(np.array([0.0, 0.5, 1.0]), np.array(1.0), 3).tolist()
    [0, 2, 3]
    """
    return np.rint(values * (steps / np.maximum(scale, 1e-30))).clip(0, steps).astype(np.uint8)


def pack_dense(shares: np.ndarray, room: int) -> dict[str, Any] | None:
    """Routing shares of all edges, `[T, R, N_to, N_from]` in 0..1, in at most `room` characters; None where too many.

    A value v of round r stands for v · `scale[r]` / `steps`; there are 255 steps, or as many as fit.

    >>> pack_dense(np.full((1, 1, 2, 2), 0.5), 1000)["steps"]
    255
    """
    scale = shares.max((0, 2, 3)).astype(np.float32)
    for steps in STEPS:
        data = packed(in_steps(shares, scale[:, None, None], steps))
        if len(data) <= room:
            return {"form": "dense", "steps": steps, "scale": scale.tolist(), "data": data}
    return None


def pack_strongest(
    values: np.ndarray, sources: np.ndarray, room: int, *, listed: np.ndarray | None = None, least: int = 1
) -> dict[str, Any]:
    """The strongest sources of each listener, `[T, R, N_to, K]`, strongest first, in 255 steps: as many as fit `room`.

    `sources` are neurons, or places in the rows of `listed` neurons `[N_to, K]`, one byte each where they fit; `least`
    of them at least are kept.

    >>> pack_strongest(np.full((1, 1, 2, 2), 0.5), np.array([[[[0, 1], [1, 0]]]]), 1000)["kept"]
    2
    """
    scale = values.max((0, 2, 3)).astype(np.float32)
    weights = in_steps(values, scale[:, None, None])
    sources = sources.astype(np.uint8 if sources.max() < 256 else "<u2")
    for kept in range(min(STRONGEST, values.shape[-1]), 0, -1):
        packs = {"sources": packed(sources[..., :kept]), "data": packed(weights[..., :kept])}
        if kept <= least or sum(map(len, packs.values())) <= room:
            break
    if listed is not None:
        packs |= {"listed": packed(listed.astype("<u2"))}
    facts = {"kept": kept, "source_bytes": sources.itemsize, "scale": scale.tolist()}
    return {"form": "strongest", "steps": 255, **facts, **packs}
