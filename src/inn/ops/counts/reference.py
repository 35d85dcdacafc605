"""Tables of counted followers step by step: the bar that every backend is held to, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inn.system.errors import InputError

EMPTY = -1
"""What is found where nothing is known."""
MOST = 255
"""The largest count; beyond it all counts of a slot are halved."""
RUNS = 8
"""The last symbol's run is counted up to RUNS - 1."""
MAX_SYMBOL = 2**21 - 1
"""The largest symbol that there is room for; 255 in narrow tables."""


def counts_reference(
    tokens: Tensor,
    before: Tensor,
    after: Tensor,
    table: Tensor,
    narrow: bool,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    learn: bool = True,
) -> tuple[Tensor, Tensor]:
    """Count each step's symbol as a follower of K contexts, then look up what followed the K contexts that it makes.

    At each step the slot of the key `before` takes the symbol, then the slot of the key `after` is read. A slot is W
    words of 32 bits. The first is check (8 bits) | last symbol (21) | run (3): the key's top bits; the symbol that
    came last; how often in a row it did, less one. The others hold followers, in the order they came, as
    symbol << 8 | count: one in a word, or, if `narrow`, two of 16 bits (the first in the low bits). A slot whose first
    count is 0 is unused.

    A key has two places, s = its low 40 bits modulo `slots` and s ^ 1, if there is one. Its slot is the one that is
    used and has its check, s before s ^ 1. Where neither does nothing is found; to learn, the place with the smaller
    sum of counts, s before s ^ 1, is emptied and taken.

    A follower that comes again is counted; at 255 all counts are halved before, (c + 1) >> 1. A new one takes a free
    place. If there is none, the last of those with the least count makes room where that is 1; else its count c falls
    by max(1, c >> 2), and the new one is not kept.

    Args:
        tokens: `[B, T]` int64, below 2^21, below 2^8 if `narrow`.
        before, after: `[B, T, K]` int64, the keys of the contexts before and after each symbol (`inn.ops.keys`).
        table: `[B, K, slots, W]` int32, a table per context, zero at the start; changed in place. W is at least 2.
        narrow: whether two followers share a word.
        reset: `[B, T]` bool, everything is forgotten before these steps.
        mask: `[B, T]` bool, steps where it is false are not read (what they find is `EMPTY`).
        learn: False looks up only: the table stays as it is, but for resets.

    Returns:
        `found` `[B, T, K, F]` int32, followers as symbol << 8 | count, `EMPTY` where there is none; F is W - 1, twice
        that if `narrow`. `last` `[B, T, K]` int32, symbol << 3 | run of the last follower, `EMPTY` where nothing is
        found.

    Raises:
        InputError: for tensors whose shapes do not belong together.

    >>> table, keys = torch.zeros(1, 1, 4, 3, dtype=torch.int32), torch.tensor([[[1], [1], [1]]])
    >>> found, last = counts_reference(torch.tensor([[5, 6, 6]]), keys, keys, table, narrow=False)
    >>> [[f"{c >> 8}: {c & 255}" for c in step if c >= 0] for step in found[0, :, 0].tolist()], last.flatten() & 7
    ([['5: 1'], ['5: 1', '6: 1'], ['5: 1', '6: 2']], tensor([0, 0, 1], dtype=torch.int32))
    """
    F = room(tokens, before, after, table, narrow)
    found = torch.full((*before.shape, F), EMPTY, dtype=torch.int32, device=table.device)
    last = torch.full(before.shape, EMPTY, dtype=torch.int32, device=table.device)
    for b in range(tokens.shape[0]):
        for t in range(tokens.shape[1]):
            if reset is not None and reset[b, t]:
                table[b] = 0
            if mask is not None and not mask[b, t]:
                continue
            for k in range(before.shape[2]):
                if learn:
                    count(table[b, k], int(before[b, t, k]), int(tokens[b, t]), narrow)
                slot = look_up(table[b, k], int(after[b, t, k]), narrow)[1]
                if slot is not None:
                    last[b, t, k] = slot.last << 3 | slot.run
                    for f, (symbol, times) in enumerate(slot.followers):
                        found[b, t, k, f] = symbol << 8 | times
    return found, last


@dataclass
class Slot:
    """What a slot holds: check bits, the last symbol and its run, and `[symbol, count]` of its followers."""

    check: int
    last: int = 0
    run: int = 0
    followers: list[list[int]] = field(default_factory=list)

    @property
    def sum(self) -> int:
        """Of all counts."""
        return sum(times for _, times in self.followers)

    def learn(self, symbol: int, most: int) -> None:
        """Count a symbol; there is room for `most`."""
        self.run = min(self.run + 1, RUNS - 1) if self.followers and symbol == self.last else 0
        self.last = symbol
        for known in self.followers:
            if known[0] == symbol:
                if known[1] == MOST:
                    for each in self.followers:
                        each[1] = (each[1] + 1) >> 1
                known[1] += 1
                return
        if len(self.followers) < most:
            self.followers.append([symbol, 1])
            return
        least = min(times for _, times in self.followers)
        weakest = [each for each in self.followers if each[1] == least][-1]
        if least <= 1:
            weakest[:] = symbol, 1
        else:
            weakest[1] -= max(1, least >> 2)


def place(key: int, slots: int) -> tuple[int, int, int]:
    """The two places of a key, the same twice if there is but one, and its check bits.

    >>> place(-1, 6)
    (3, 2, 255)
    """
    s = (key & 2**40 - 1) % slots
    return s, s ^ 1 if s ^ 1 < slots else s, key >> 56 & 255


def look_up(table: Tensor, key: int, narrow: bool) -> tuple[int, Slot | None]:
    """Where a key's slot is in a table `[slots, W]`, and the slot; where it would be, and None."""
    *places, check = place(key, len(table))
    slots = [unpack(table[s].tolist(), narrow) for s in places]
    for s, slot in zip(places, slots, strict=True):
        if slot.followers and slot.check == check:
            return s, slot
    return (places[1] if slots[1].sum < slots[0].sum else places[0]), None


def count(table: Tensor, key: int, symbol: int, narrow: bool) -> None:
    """Count a symbol as a follower of a key in a table `[slots, W]`."""
    s, slot = look_up(table, key, narrow)
    slot = slot or Slot(place(key, len(table))[2])
    words = table.shape[1] - 1
    slot.learn(symbol, 2 * words if narrow else words)
    table[s] = torch.tensor(pack(slot, words, narrow), dtype=torch.int32)


def unpack(words: Sequence[int], narrow: bool) -> Slot:
    """A slot from its words.

    >>> pack(unpack([1 << 24 | 5 << 3 | 2, 5 << 8 | 3], True), 1, True) == [1 << 24 | 5 << 3 | 2, 5 << 8 | 3]
    True
    """
    head, *cells = (word % 2**32 for word in words)
    if narrow:
        cells = [cell for word in cells for cell in (word % 2**16, word >> 16)]
    followers = [[cell >> 8, cell & 255] for cell in cells if cell & 255]
    return Slot(head >> 24, head >> 3 & MAX_SYMBOL, head & 7, followers)


def pack(slot: Slot, words: int, narrow: bool) -> list[int]:
    """The words of a slot, as int32."""
    cells = [symbol << 8 | times for symbol, times in slot.followers]
    cells += [0] * ((2 * words if narrow else words) - len(cells))
    if narrow:
        cells = [low | high << 16 for low, high in zip(cells[::2], cells[1::2], strict=True)]
    found = [slot.check << 24 | slot.last << 3 | slot.run, *cells]
    return [word - 2**32 if word >= 2**31 else word for word in found]


def room(tokens: Tensor, before: Tensor, after: Tensor, table: Tensor, narrow: bool) -> int:
    """How many followers a slot has room for; `InputError` where shapes do not belong together."""
    if table.ndim != 4 or table.shape[2] < 1 or table.shape[3] < 2:
        raise InputError(f"table should be [B, K, slots, W] with at least 1 slot of 2 words, not {list(table.shape)}")
    batch, contexts, _, width = table.shape
    if tokens.ndim != 2 or tokens.shape[0] != batch:
        raise InputError(f"tokens should be [{batch}, T] for this table, not {list(tokens.shape)}")
    for name, given in (("before", before), ("after", after)):
        if given.shape != (*tokens.shape, contexts):
            raise InputError(f"{name} should be {[*tokens.shape, contexts]}, not {list(given.shape)}")
    return (width - 1) * (2 if narrow else 1)
