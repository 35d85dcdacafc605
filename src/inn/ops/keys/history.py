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
    text, at, first = side_by_side(tokens, recent, reset, mask)
    return look_back(text, at[:, 1:], first[:, 1:], recent.shape[1])


def side_by_side(
    tokens: Tensor, recent: Tensor, reset: Tensor | None = None, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The symbols of each stream without what is masked, and where histories lie in them.

    Returns:
        `text` `[B, 1 + L + T]`, `EMPTY` and then the symbols, `recent` before `tokens`. `at` and `first` `[B, T + 1]`:
        the places of the newest and of the oldest symbol of the history after t steps; there is none if `at` is less.
    """
    (batch, steps), length = tokens.shape, recent.shape[1]
    live = torch.cat((recent >= 0, torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask), 1)
    rank = torch.cat((tokens.new_zeros(batch, 1), live.long().cumsum(1)), 1)
    text = torch.full((batch, 1 + length + steps), EMPTY, device=tokens.device)
    # What is not live lands on place 0, which means "none".
    text = text.scatter(1, torch.where(live, rank[:, 1:], 0), torch.cat((recent, tokens), 1))
    text[:, 0] = EMPTY
    at, first = rank[:, length:], torch.ones_like(rank[:, length:])
    if reset is not None:
        first = torch.cat((first[:, :1], torch.where(reset, at[:, :-1] + 1, 1)), 1).cummax(1).values
    return text, at, first


def look_back(text: Tensor, at: Tensor, first: Tensor, length: int) -> Tensor:
    """Histories `[B, S, L]`, oldest first, of what `side_by_side` gives, at S steps `[B, S]`."""
    place = at[..., None] - torch.arange(length - 1, -1, -1, device=text.device)
    symbols = text.gather(1, place.clamp_min(0).flatten(1)).view(place.shape)
    return torch.where(place >= first[..., None], symbols, EMPTY)
