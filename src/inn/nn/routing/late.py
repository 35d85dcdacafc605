"""Edges that take time: what neurons sent some steps ago, kept in the state of their router."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from inn.nn.topology.edges import Edges

PAST = "past"
"""The state's part with what neurons sent: `[B, N, W, F + 1]`, oldest first; the last number is 1 where they did."""


def arriving(
    sent: Tensor, past: Tensor, lags: Sequence[int], present: Tensor | None, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What comes over edges of these lags from each neuron, lag by lag, as if each lag had neurons of its own.

    A lag counts the steps of a stream that a mask leaves; nothing comes from before a reset, nor from neurons that
    were absent.

    Args:
        sent: `[B, T, N, F]`.
        past: the state before, `[B, N, W, F + 1]`.
        lags: from 0 to W, rising.
        present: `[B, T, N]` bool, None for all.

    Returns:
        `[B, T, L x N, F]`, where something comes from `[B, T, L x N]` bool, and the state after.
    """
    window, time = past.shape[2], sent.shape[1]
    there = torch.ones_like(sent[..., :1]) if present is None else present[..., None].to(sent.dtype)
    rows = torch.cat((past.transpose(1, 2).to(sent.dtype), torch.cat((sent, there), -1)), 1)  # [B, W + T, N, F + 1]
    if reset is None and mask is None:
        parts, kept = [rows[:, window - lag : window - lag + time] for lag in lags], rows[:, time:]
    else:
        some = reset if mask is None else mask
        assert some is not None
        counts = torch.ones_like(some, dtype=torch.long) if mask is None else mask.long()
        step = counts.cumsum(1) - counts  # [B, T] of those that count
        if mask is not None:  # those in front
            order = window + (1 - counts).argsort(dim=1, stable=True)
            order = torch.cat((torch.arange(window, device=sent.device).expand(len(order), -1), order), 1)
            rows = rows.gather(1, order[..., None, None].expand_as(rows))
        begin = torch.full_like(step, -window)
        begin = begin if reset is None else torch.where(reset, step, begin).cummax(1).values

        def of(steps: Tensor, begin: Tensor) -> Tensor:
            found = rows.gather(1, (window + steps)[..., None, None].expand(-1, -1, *rows.shape[2:]))
            return found.masked_fill((steps < begin)[..., None, None], 0.0)

        parts = [of(step - lag, begin) for lag in lags]
        last = step[:, -1:] + counts[:, -1:] - window
        kept = of(last + torch.arange(window, device=sent.device), begin[:, -1:])
    found = torch.cat(parts, 2)
    return found[..., :-1], found[..., -1] > 0, kept.transpose(1, 2).to(past.dtype)


def by_lag(edges: Edges, lags: Sequence[int]) -> Edges:
    """The same edges, from where `arriving` has what comes over them."""
    assert edges.lags is not None
    place = torch.zeros_like(edges.sources)
    for lag in lags[1:]:
        place = place + (edges.lags >= lag)
    return replace(edges, sources=edges.sources + place * len(edges.sources), lags=None)
