"""Keys of contexts on a GPU: a program hashes one context of BLOCK steps of a stream, each lane a history."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def fold(h, number):
    """A hash with one more number in it; shifts of int64 take the sign along, which has to go."""
    h = (h ^ (number - 7046029254386353130 + (h << 6) + ((h >> 2) & 0x3FFFFFFFFFFFFFFF))) * -2960836687051489901
    return h ^ ((h >> 32) & 0xFFFFFFFF)


@triton.jit
def keys_forward(
    text, at, first, specs, letters, before, after,
    T, K, L, V, blocks, BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid: 2 (before, after) · B · blocks of steps · K. `specs` [K, 4] are kind, a, b and the hash of these three."""
    k = tl.program_id(0) % K
    block = tl.program_id(0) // K % blocks
    way = tl.program_id(0) // (K * blocks) % 2
    b = (tl.program_id(0) // (K * blocks * 2)).to(tl.int64)
    t = block * BLOCK + tl.arange(0, BLOCK)
    inside = t < T
    newest = tl.load(at + b * (T + 1) + t + way, mask=inside, other=0)
    oldest = tl.load(first + b * (T + 1) + t + 1, mask=inside, other=1)
    text += b * (1 + L + T)
    kind = tl.load(specs + k * 4)
    x = tl.load(specs + k * 4 + 1).to(tl.int32)
    y = tl.load(specs + k * 4 + 2).to(tl.int32)
    h = tl.zeros([BLOCK], tl.int64) + tl.load(specs + k * 4 + 3)
    none = tl.full([BLOCK], -1, tl.int64)
    if kind == 0:
        for i in range(x, x + y):
            h = fold(h, tl.load(text + newest - i, mask=inside & (newest - i >= oldest), other=-1))
    elif kind == 1:
        word = none * 0  # how many have begun before the one that goes on
        within = inside
        for i in range(0, L):
            there = inside & (newest - i >= oldest)
            symbol = tl.load(text + newest - i, mask=there, other=-1)
            known = there & (symbol >= 0) & (symbol < V)
            letter = tl.load(letters + symbol, mask=known, other=0) != 0
            begins = letter & (within == 0)
            word += begins.to(tl.int64)
            counts = letter & (word <= x)
            h = tl.where(begins & counts, fold(h, none), h)
            h = tl.where(counts, fold(h, symbol), h)
            within = letter
    else:
        last = none
        older = none
        for i in range(0, L):
            symbol = tl.load(text + newest - i, mask=inside & (newest - i >= oldest), other=-1)
            newline = (symbol == x) & (symbol >= 0)
            older = tl.where(newline & (last >= 0) & (older < 0), i, older)
            last = tl.where(newline & (last < 0), i, last)
        above = older - 1 - last
        there = inside & (older >= 0) & (above >= last)
        h = fold(fold(h, last), tl.load(text + newest - above, mask=there, other=-1))
    place = (b * T + t) * K + k
    if way == 0:
        tl.store(before + place, h, mask=inside)
    else:
        tl.store(after + place, h, mask=inside)
