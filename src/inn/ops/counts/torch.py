"""Tables of counted followers step by step, all streams and contexts at once."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.counts.reference import EMPTY, MAX_SYMBOL, MOST, RUNS, room


def counts_torch(
    tokens: Tensor,
    before: Tensor,
    after: Tensor,
    table: Tensor,
    narrow: bool,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    learn: bool = True,
) -> tuple[Tensor, Tensor]:
    """See `counts_reference`; the results are the same."""
    F = room(tokens, before, after, table, narrow)
    found, last = [], []
    for t in range(tokens.shape[1]):
        if reset is not None:
            table.masked_fill_(reset[:, t, None, None, None], 0)
        live = None if mask is None else mask[:, t, None]  # [B, 1]
        if learn:
            _count(table, before[:, t], tokens[:, t, None], live, narrow)
        _, _, head, cells, known = _look_up(table, after[:, t], narrow)
        known = known if live is None else known & live
        found.append(torch.where(known[..., None] & (cells & 255 > 0), cells, EMPTY))
        last.append(torch.where(known, head & 2**24 - 1, EMPTY))
    if not found:
        return table.new_empty(*before.shape, F), table.new_empty(before.shape)
    return torch.stack(found, 1).to(table.dtype), torch.stack(last, 1).to(table.dtype)


def _look_up(table: Tensor, keys: Tensor, narrow: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of the keys' slots: place and check `[B, K]`, header and cells `[B, K, F]`, and whether they are the keys'."""
    slots = table.shape[2]
    s = (keys & 2**40 - 1) % slots
    check, partner = keys >> 56 & 255, torch.where(s ^ 1 < slots, s ^ 1, s)
    heads, cells = _unpack(_rows(table, s), narrow)
    other_heads, other_cells = _unpack(_rows(table, partner), narrow)
    here = (cells[..., 0] & 255 > 0) & (heads >> 24 == check)
    there = (other_cells[..., 0] & 255 > 0) & (other_heads >> 24 == check)
    lighter = (other_cells & 255).sum(-1) < (cells & 255).sum(-1)
    other = ~here & (there | lighter)
    cells = torch.where(other[..., None], other_cells, cells)
    return torch.where(other, partner, s), check, torch.where(other, other_heads, heads), cells, here | there


def _count(table: Tensor, keys: Tensor, symbol: Tensor, live: Tensor | None, narrow: bool) -> None:
    """Count a symbol `[B, 1]` as a follower of its keys `[B, K]`."""
    at, check, head, old, known = _look_up(table, keys, narrow)
    cells = torch.where(known[..., None], old, 0)
    times = cells & 255
    same = (cells >> 8 == symbol[..., None]) & (times > 0)
    full = (same & (times == MOST)).any(-1, keepdim=True)
    times = torch.where(full, times + 1 >> 1, times)
    F, used = cells.shape[-1], (times > 0).sum(-1)
    order = torch.arange(F, device=cells.device)
    weakest = (times * F - order).argmin(-1)  # the least count, the last of several
    least = times.gather(-1, weakest[..., None])[..., 0]
    comes_again, has_room = same.any(-1), used < F
    place = torch.where(comes_again, same.long().argmax(-1), torch.where(has_room, used, weakest))
    new = torch.where(comes_again | (~has_room & (least > 1)), EMPTY, symbol << 8 | 1)  # EMPTY: the symbol there stays
    change = torch.where(comes_again, 1, -(least >> 2).clamp(min=1))
    kept = cells & -256 | times
    new = torch.where(new[..., None] == EMPTY, kept + change[..., None], new[..., None])
    cells = torch.where(order == place[..., None], new, kept)
    again = known & (head >> 3 & MAX_SYMBOL == symbol)
    run = torch.where(again, (head & 7) + 1, 0).clamp(max=RUNS - 1)
    words = _pack(check << 24 | symbol << 3 | run, cells, narrow).to(table.dtype)
    if live is not None:
        words = torch.where(live[..., None], words, _rows(table, at))
    table.scatter_(2, at[..., None, None].expand(-1, -1, 1, table.shape[3]), words[:, :, None])


def _rows(table: Tensor, at: Tensor) -> Tensor:
    """The words `[B, K, W]` of the slots at `[B, K]`."""
    return table.gather(2, at[..., None, None].expand(-1, -1, 1, table.shape[3]))[:, :, 0]


def _unpack(words: Tensor, narrow: bool) -> tuple[Tensor, Tensor]:
    """Headers `[B, K]` and cells `[B, K, F]` as whole numbers that are not negative."""
    words = words.long() & 2**32 - 1
    head, cells = words[..., 0], words[..., 1:]
    if narrow:
        cells = torch.stack((cells & 2**16 - 1, cells >> 16), -1).flatten(-2)
    return head, cells


def _pack(head: Tensor, cells: Tensor, narrow: bool) -> Tensor:
    """Words `[B, K, W]` in the range of int32."""
    if narrow:
        low, high = cells.unflatten(-1, (-1, 2)).unbind(-1)
        cells = low | high << 16
    words = torch.cat((head[..., None], cells), -1)
    return (words ^ 2**31) - 2**31
