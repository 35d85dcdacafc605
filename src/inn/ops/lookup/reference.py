"""The table of followers symbol by symbol: the bar that every backend is held to, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EMPTY = -1
"""An unused slot, a symbol before the first, and what is found where nothing is known."""
RUNS = 8
"""A run of right guesses is counted up to RUNS - 1."""
MAX_SYMBOL = 2**21 - 1
"""The largest symbol that an entry has room for, beside 3 bits of run and 7 of check."""
WORD = 2**32


def recall_reference(
    tokens: Tensor,
    table: Tensor,
    recent: Tensor,
    orders: Sequence[int],
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    learn: bool = True,
    width: int = 0,
) -> Tensor:
    """Look up, for every symbol, what followed the last time the stream read the same k symbols; then learn it.

    At each step the slot of the k symbols *before* this one takes this one: its run grows by one where it is what the
    slot held, else it starts at 0. Then the slot of the k symbols up to and including this one is read. A slot belongs
    to a hash of its context; 7 further bits of the hash are kept with the entry, and an entry whose bits differ is
    another context's and counts as empty.

    Args:
        tokens: `[B, T]` int64, below 2^21.
        table: `[B, K, slots]` int32, a table per order, `EMPTY` at the start; changed in place.
        recent: `[B, L]` int64, the last symbols, oldest first, `EMPTY` before the first; L is at least the largest
            order; changed in place.
        orders: K context lengths.
        reset: `[B, T]` bool, everything is forgotten before these steps.
        mask: `[B, T]` bool, steps where it is false are not read (what they find is `EMPTY`).
        learn: False looks up only: the table stays as it is.
        width: numbers that each entry is then turned into by a factor and a shift, for FLOP counters alone.

    Returns:
        `[B, T, K]` int64: symbol x RUNS + run, or `EMPTY`.
    """
    found = torch.full((*tokens.shape, len(orders)), EMPTY, dtype=torch.int64)
    for b in range(tokens.shape[0]):
        for t in range(tokens.shape[1]):
            if reset is not None and reset[b, t]:
                table[b], recent[b] = EMPTY, EMPTY
            if mask is not None and not mask[b, t]:
                continue
            symbol, before = int(tokens[b, t]), recent[b].tolist()
            now = [*before[1:], symbol]
            for i, k in enumerate(orders):
                if learn:
                    slot, check = place(before[-k:], table.shape[2])
                    old = int(table[b, i, slot])
                    right = old >= 0 and old >> 24 == check and (old >> 3) & MAX_SYMBOL == symbol
                    run = min((old & 7) + 1, RUNS - 1) if right else 0
                    table[b, i, slot] = check << 24 | symbol << 3 | run
                slot, check = place(now[-k:], table.shape[2])
                old = int(table[b, i, slot])
                if old >= 0 and old >> 24 == check:
                    found[b, t, i] = old & (2**24 - 1)  # symbol x RUNS + run
            recent[b] = torch.tensor(now)
    return found


def place(context: Sequence[int], slots: int) -> tuple[int, int]:
    """The slot of a context and its check bits.

    >>> place([3, 1, 4], 65536) == place([3, 1, 5], 65536)
    False
    """
    h = 0
    for symbol in context:
        h = (h * 0x9E3779B1 + symbol + 1) % WORD
    h = (h ^ h >> 15) * 0x2C1B3C6D % WORD
    h = (h ^ h >> 12) * 0x297A2D39 % WORD
    h ^= h >> 15
    return h % slots, h >> 25
