"""Tables of counted followers on a GPU: a program walks time for one context of one stream; its table is in memory.

A row is a slot's cells, symbol << 8 | count, padded to FP lanes; `cells` is the table, seen as numbers of that width.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def read_slot(table, cells, s, W, F, NARROW: tl.constexpr, FP: tl.constexpr):
    """Header and cells `[FP]` of a slot, and how often its first follower came."""
    f = tl.arange(0, FP)
    head = tl.load(table + s * W)
    if NARROW:
        row = tl.load(cells + s * W * 2 + 2 + f, mask=f < F, other=0).to(tl.int32) & 0xFFFF
    else:
        row = tl.load(cells + s * W + 1 + f, mask=f < F, other=0)
    return head, row, tl.sum(tl.where(f == 0, row & 255, 0), 0)


@triton.jit
def look_up(table, cells, key, slots, W, F, NARROW: tl.constexpr, FP: tl.constexpr):
    """Place, header and cells of a key's slot, its check, and whether it is the key's: else what it would take."""
    first = (key & 0xFFFFFFFFFF) % slots
    other = first ^ 1
    other = tl.where(other < slots, other, first)
    check = ((key >> 56) & 255).to(tl.int32)
    head, row, seen = read_slot(table, cells, first, W, F, NARROW, FP)
    head2, row2, seen2 = read_slot(table, cells, other, W, F, NARROW, FP)
    here = (seen > 0) & (((head >> 24) & 255) == check)
    there = (seen2 > 0) & (((head2 >> 24) & 255) == check)
    lighter = tl.sum(row2 & 255, 0) < tl.sum(row & 255, 0)
    second = (here == 0) & (there | lighter)
    return (
        tl.where(second, other, first), tl.where(second, head2, head), tl.where(second, row2, row), check, here | there,
    )  # fmt: skip


@triton.jit
def learn(table, cells, key, symbol, slots, W, F, NARROW: tl.constexpr, FP: tl.constexpr):
    """Count a symbol as a follower of a key."""
    f = tl.arange(0, FP)
    s, head, row, check, known = look_up(table, cells, key, slots, W, F, NARROW, FP)
    row = tl.where(known, row, 0)
    times = row & 255
    same = (times > 0) & ((row >> 8) == symbol)
    again = tl.sum(same.to(tl.int32), 0) > 0
    full = tl.sum((same & (times == 255)).to(tl.int32), 0) > 0
    times = tl.where(full, (times + 1) >> 1, times)
    row = ((row >> 8) << 8) | times
    used = tl.sum((times > 0).to(tl.int32), 0)
    order = tl.where(f < F, times * FP + (FP - 1 - f), 2147483647)  # the least count, the last of several
    weakest = FP - 1 - tl.min(order, 0) % FP
    least = tl.min(order, 0) // FP
    stays = (again == 0) & (used >= F) & (least > 1)  # the symbol there, which is worn down
    at = tl.where(used < F, used, weakest)
    here = tl.where(again, same, f == at)
    new = tl.where(again, row + 1, tl.where(stays, row - tl.maximum(least >> 2, 1), (symbol << 8) | 1))
    row = tl.where(here, new, row)
    right = known & (((head >> 3) & 0x1FFFFF) == symbol)
    run = tl.where(right, tl.minimum((head & 7) + 1, 7), 0)
    tl.store(table + s * W, (check << 24) | (symbol << 3) | run)
    if NARROW:
        tl.store(cells + s * W * 2 + 2 + f, row.to(tl.int16), mask=f < F)
    else:
        tl.store(cells + s * W + 1 + f, row, mask=f < F)


@triton.jit
def counts_forward(
    table, cells, tokens, before, after, reset, mask, found, last,
    T, K, slots, W, F, NARROW: tl.constexpr, LEARN: tl.constexpr, FP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid: B · K. Barriers part what is written from what is read: another lane may have written it."""
    program = tl.program_id(0).to(tl.int64)
    b = program // K
    k = program % K
    size = tl.full([], slots, tl.int64) * W
    table += program * size
    cells += program * size * (2 if NARROW else 1)
    f = tl.arange(0, FP)
    for t in range(0, T):
        step = b * T + t
        if reset is not None:
            if tl.load(reset + step) != 0:
                for i in range(0, size, BLOCK):
                    word = i + tl.arange(0, BLOCK)
                    tl.store(table + word, tl.zeros([BLOCK], tl.int32), mask=word < size)
                tl.debug_barrier()
        live = 1
        if mask is not None:
            live = tl.load(mask + step).to(tl.int32)
        cell = tl.full([FP], -1, tl.int32)
        final = -1
        if live != 0:
            if LEARN:
                symbol = tl.load(tokens + step).to(tl.int32)
                learn(table, cells, tl.load(before + step * K + k), symbol, slots, W, F, NARROW, FP)
                tl.debug_barrier()
            _, head, row, _, known = look_up(table, cells, tl.load(after + step * K + k), slots, W, F, NARROW, FP)
            cell = tl.where(known & ((row & 255) > 0), row, -1)
            final = tl.where(known, head & 0xFFFFFF, -1)
            tl.debug_barrier()
        tl.store(found + (step * K + k) * F + f, cell, mask=f < F)
        tl.store(last + step * K + k, final)
