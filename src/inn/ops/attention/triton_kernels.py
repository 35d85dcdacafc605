"""The attention on a GPU: a program takes one time step and a few heads, and the N x N tile never leaves the chip.

Up to 64 neurons fit one tile; more are taken in blocks of 64 with a running maximum. The backward pass makes the tile
again. Scores are to the base 2: queries come in times log2(e) / √d. What dropout drops follows from the seed and the
place of the weight, so that both passes drop the same.
"""

from __future__ import annotations

import triton
import triton.language as tl

from inn.ops.gpu_kernels import product

LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def read(base, rows, width, stride, N, d):
    """Rows of a matrix [N, d], with zeros beyond it."""
    return tl.load(
        base + rows[:, None] * stride + width[None, :], mask=(rows < N)[:, None] & (width < d)[None, :], other=0.0
    )


@triton.jit
def write(base, rows, width, stride, N, d, values):
    inside = (rows < N)[:, None] & (width < d)[None, :]
    tl.store(base + rows[:, None] * stride + width[None, :], values.to(base.dtype.element_ty), mask=inside)


@triton.jit
def scores(q, k, edges, to, source, N, scale, EXACT: tl.constexpr):
    """[to, source], -inf where there is no edge."""
    s = product(q, tl.trans(k), EXACT) * scale
    open_edge = (to < N)[:, None] & (source < N)[None, :]
    if edges is not None:
        open_edge = open_edge & (tl.load(edges + to[:, None] * N + source[None, :], mask=open_edge, other=0) != 0)
    return tl.where(open_edge, s, float("-inf"))


@triton.jit
def draws(seed, to, source, N, row, group):
    """Four random numbers of 31 bits for each weight of a tile: one for each head of a group."""
    place = to[:, None] * N + source[None, :]
    a, b, c, d = tl.philox(tl.load(seed), place, row, group, 0, 7)
    return (a >> 1).to(tl.int32), (b >> 1).to(tl.int32), (c >> 1).to(tl.int32), (d >> 1).to(tl.int32)


@triton.jit
def attention_forward(
    q, k, v, edges, seed, out, lse, weights,
    q_b, q_t, q_n, k_b, k_t, k_n, v_b, v_t, v_n, out_b, out_t, out_n,
    T, N, H, d, scale, threshold, boost,
    BLOCK: tl.constexpr, DP: tl.constexpr, HEADS: tl.constexpr, ONE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Grid: (B · T) · (blocks of queries) · (groups of HEADS heads). ONE: all neurons are in one block."""
    groups = H // HEADS
    group = tl.program_id(0) % groups
    rest = tl.program_id(0) // groups
    blocks = tl.cdiv(N, BLOCK)
    row = rest // blocks
    t = (row % T).to(tl.int64)
    b = (row // T).to(tl.int64)
    to = rest % blocks * BLOCK + tl.arange(0, BLOCK)
    width = tl.arange(0, DP)
    q += b * q_b + t * q_t
    k += b * k_b + t * k_t
    v += b * v_b + t * v_t
    out += b * out_b + t * out_t
    if seed is not None and ONE:
        draw = draws(seed, to, tl.arange(0, BLOCK), N, row, group)

    for head in tl.static_range(HEADS):
        h = group * HEADS + head
        queries = read(q + h * d, to, width, q_n, N, d)
        best = tl.full([BLOCK], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK], tl.float32)
        message = tl.zeros([BLOCK, DP], tl.float32)
        for first in range(0, BLOCK if ONE else N, BLOCK):
            source = first + tl.arange(0, BLOCK)
            s = scores(queries, read(k + h * d, source, width, k_n, N, d), edges, to, source, N, scale, EXACT)
            values = read(v + h * d, source, width, v_n, N, d)
            better = tl.maximum(best, tl.max(s, axis=1))
            finite = tl.where(better == float("-inf"), 0.0, better)
            p = tl.exp2(s - finite[:, None])
            fade = tl.exp2(best - finite)
            total = total * fade + tl.sum(p, axis=1)
            if seed is not None:
                if ONE:
                    dice = draw[head]
                else:
                    dice = draws(seed, to, source, N, row, group)[0]
                p = tl.where(dice >= threshold, p * boost, 0.0)
            message = message * fade[:, None] + product(p.to(values.dtype), values, EXACT)
            best = better
        heard = tl.where(total == 0.0, 1.0, total)
        write(out + h * d, to, width, out_n, N, d, message / heard[:, None])
        if lse is not None or weights is not None:
            norm = tl.where(total == 0.0, 0.0, best + tl.log2(heard))
            place = (row.to(tl.int64) * H + h) * N
            if lse is not None:
                tl.store(lse + place + to, norm, mask=to < N)
            if weights is not None:
                for first in range(0, BLOCK if ONE else N, BLOCK):
                    source = first + tl.arange(0, BLOCK)
                    s = scores(queries, read(k + h * d, source, width, k_n, N, d), edges, to, source, N, scale, EXACT)
                    inside = (to < N)[:, None] & (source < N)[None, :]
                    w = tl.exp2(s - norm[:, None]).to(weights.dtype.element_ty)
                    tl.store(weights + (place + to)[:, None] * N + source[None, :], w, mask=inside)


@triton.jit
def attention_backward(
    gout, q, k, v, edges, seed, gq, gk, gv,
    gout_b, gout_t, gout_n, q_b, q_t, q_n, k_b, k_t, k_n, v_b, v_t, v_n, gq_b, gq_t, gq_n, gk_b, gk_t, gk_n,
    gv_b, gv_t, gv_n,
    T, N, H, d, scale, threshold, boost,
    BLOCK: tl.constexpr, DP: tl.constexpr, HEADS: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """All gradients where one tile holds all neurons. Grid: (B · T) · (groups of HEADS heads)."""
    groups = H // HEADS
    group = tl.program_id(0) % groups
    row = tl.program_id(0) // groups
    t = (row % T).to(tl.int64)
    b = (row // T).to(tl.int64)
    n = tl.arange(0, BLOCK)
    width = tl.arange(0, DP)
    q += b * q_b + t * q_t
    k += b * k_b + t * k_t
    v += b * v_b + t * v_t
    gout += b * gout_b + t * gout_t
    gq += b * gq_b + t * gq_t
    gk += b * gk_b + t * gk_t
    gv += b * gv_b + t * gv_t
    if seed is not None:
        draw = draws(seed, n, n, N, row, group)

    for head in tl.static_range(HEADS):
        at = (group * HEADS + head) * d
        queries = read(q + at, n, width, q_n, N, d)
        keys = read(k + at, n, width, k_n, N, d)
        g = read(gout + at, n, width, gout_n, N, d)
        s = scores(queries, keys, edges, n, n, N, scale, EXACT)
        best = tl.max(s, axis=1)
        p = tl.exp2(s - tl.where(best == float("-inf"), 0.0, best)[:, None])
        total = tl.sum(p, axis=1)
        p = p / tl.where(total == 0.0, 1.0, total)[:, None]
        gp = product(g, tl.trans(read(v + at, n, width, v_n, N, d)), EXACT)
        used = p
        if seed is not None:
            used = tl.where(draw[head] >= threshold, p * boost, 0.0)
            gp = tl.where(draw[head] >= threshold, gp * boost, 0.0)
        gvalues = product(tl.trans(used.to(g.dtype)), g, EXACT)
        write(gv + at, n, width, gv_n, N, d, gvalues)
        gs = (p * (gp - tl.sum(p * gp, axis=1)[:, None]) * (scale * LN2)).to(queries.dtype)
        write(gq + at, n, width, gq_n, N, d, product(gs, keys, EXACT))
        write(gk + at, n, width, gk_n, N, d, product(tl.trans(gs), queries, EXACT))


@triton.jit
def attention_backward_queries(
    gout, q, k, v, edges, seed, out, lse, gq, delta,
    gout_b, gout_t, gout_n, q_b, q_t, q_n, k_b, k_t, k_n, v_b, v_t, v_n, out_b, out_t, out_n, gq_b, gq_t, gq_n,
    T, N, H, d, scale, threshold, boost,
    BLOCK: tl.constexpr, DP: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """The gradient of a block of queries, and `delta` [B, T, H, N], the mean gradient of their weights."""
    h = tl.program_id(0) % H
    rest = tl.program_id(0) // H
    blocks = tl.cdiv(N, BLOCK)
    row = rest // blocks
    t = (row % T).to(tl.int64)
    b = (row // T).to(tl.int64)
    to = rest % blocks * BLOCK + tl.arange(0, BLOCK)
    width = tl.arange(0, DP)
    place = (row.to(tl.int64) * H + h) * N
    k += b * k_b + t * k_t + h * d
    v += b * v_b + t * v_t + h * d
    queries = read(q + b * q_b + t * q_t + h * d, to, width, q_n, N, d)
    g = read(gout + b * gout_b + t * gout_t + h * d, to, width, gout_n, N, d)
    messages = read(out + b * out_b + t * out_t + h * d, to, width, out_n, N, d)
    mean = tl.sum(g.to(tl.float32) * messages.to(tl.float32), axis=1)
    tl.store(delta + place + to, mean, mask=to < N)
    norm = tl.load(lse + place + to, mask=to < N, other=0.0)
    total = tl.zeros([BLOCK, DP], tl.float32)
    for first in range(0, N, BLOCK):
        source = first + tl.arange(0, BLOCK)
        keys = read(k, source, width, k_n, N, d)
        p = tl.exp2(scores(queries, keys, edges, to, source, N, scale, EXACT) - norm[:, None])
        gp = product(g, tl.trans(read(v, source, width, v_n, N, d)), EXACT)
        if seed is not None:
            gp = tl.where(draws(seed, to, source, N, row, h)[0] >= threshold, gp * boost, 0.0)
        gs = p * (gp - mean[:, None]) * (scale * LN2)
        total += product(gs.to(keys.dtype), keys, EXACT)
    write(gq + b * gq_b + t * gq_t + h * d, to, width, gq_n, N, d, total)


@triton.jit
def attention_backward_keys(
    gout, q, k, v, edges, seed, lse, delta, gk, gv,
    gout_b, gout_t, gout_n, q_b, q_t, q_n, k_b, k_t, k_n, v_b, v_t, v_n, gk_b, gk_t, gk_n, gv_b, gv_t, gv_n,
    T, N, H, d, scale, threshold, boost,
    BLOCK: tl.constexpr, DP: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """The gradients of a block of keys and values."""
    h = tl.program_id(0) % H
    rest = tl.program_id(0) // H
    blocks = tl.cdiv(N, BLOCK)
    row = rest // blocks
    t = (row % T).to(tl.int64)
    b = (row // T).to(tl.int64)
    source = rest % blocks * BLOCK + tl.arange(0, BLOCK)
    width = tl.arange(0, DP)
    place = (row.to(tl.int64) * H + h) * N
    q += b * q_b + t * q_t + h * d
    gout += b * gout_b + t * gout_t + h * d
    keys = read(k + b * k_b + t * k_t + h * d, source, width, k_n, N, d)
    values = read(v + b * v_b + t * v_t + h * d, source, width, v_n, N, d)
    gkeys = tl.zeros([BLOCK, DP], tl.float32)
    gvalues = tl.zeros([BLOCK, DP], tl.float32)
    for first in range(0, N, BLOCK):
        to = first + tl.arange(0, BLOCK)
        queries = read(q, to, width, q_n, N, d)
        g = read(gout, to, width, gout_n, N, d)
        norm = tl.load(lse + place + to, mask=to < N, other=0.0)
        mean = tl.load(delta + place + to, mask=to < N, other=0.0)
        p = tl.exp2(scores(queries, keys, edges, to, source, N, scale, EXACT) - norm[:, None])
        gp = product(g, tl.trans(values), EXACT)
        used = p
        if seed is not None:
            keep = draws(seed, to, source, N, row, h)[0] >= threshold
            used = tl.where(keep, p * boost, 0.0)
            gp = tl.where(keep, gp * boost, 0.0)
        gvalues += product(tl.trans(used.to(g.dtype)), g, EXACT)
        gs = p * (gp - mean[:, None]) * (scale * LN2)
        gkeys += product(tl.trans(gs.to(queries.dtype)), queries, EXACT)
    write(gk + b * gk_b + t * gk_t + h * d, source, width, gk_n, N, d, gkeys)
    write(gv + b * gv_b + t * gv_t + h * d, source, width, gv_n, N, d, gvalues)
