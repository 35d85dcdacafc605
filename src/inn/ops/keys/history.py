"""What each step of a stream can look back on: its last symbols, laid out step by step."""

from __future__ import annotations

import torch
from torch import Tensor

EMPTY = -1
"""A symbol before the first."""


def histories(tokens: Tensor, recent: Tensor, reset: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """The last L symbols up to and including each step, `[B, T, L]` int64, oldest first, `EMPTY` for none.

    Symbols before a reset and masked ones do not count; a reset at a masked step still does.

    Args:
        tokens: `[B, T]` int64.
        recent: `[B, L]` int64, the symbols before the first step, oldest first, `EMPTY` before the first symbol.
        reset: `[B, T]` bool, everything is forgotten before these steps.
        mask: `[B, T]` bool, steps where it is false are not read.

    >>> histories(torch.tensor([[5, 6, 7]]), torch.tensor([[-1, 4]])).tolist()
    [[[4, 5], [5, 6], [6, 7]]]
    """
    (batch, steps), length = tokens.shape, recent.shape[1]
    stream = torch.cat((recent, tokens), dim=1)
    live = torch.cat((recent >= 0, torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask), dim=1)
    segment = torch.zeros_like(stream)
    if reset is not None:
        segment[:, length:] = reset.long().cumsum(1)
    rank = live.long().cumsum(1)  # live symbols up to and including each
    # Live symbols side by side, from place 1 on; dead ones land on place 0, which means "none".
    place = torch.where(live, rank, 0)
    packed = torch.full((batch, length + steps + 1), EMPTY, device=tokens.device).scatter(1, place, stream)
    owner = torch.full_like(packed, EMPTY).scatter(1, place, segment)
    packed[:, 0], owner[:, 0] = EMPTY, EMPTY
    back = torch.arange(length - 1, -1, -1, device=tokens.device)
    at = (rank[:, length:, None] - back).clamp_min(0).flatten(1)  # [B, T * L]
    same = owner.gather(1, at).view(batch, steps, length) == segment[:, length:, None]
    return torch.where(same, packed.gather(1, at).view(batch, steps, length), EMPTY)
