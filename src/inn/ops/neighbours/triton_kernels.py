"""Listed edges in Triton: attention, sums, scores and matrix messages, forward and backward.

A program takes a block of listeners of one step and one head, and goes through their edges one by one. What a source is
told it collects, for a block of steps, from the edges that lead away from it: `order` lists the open edges by their
source, those of source j from `starts[j]` to `starts[j + 1]`. So nothing is added atomically, and results do not depend
on an order of execution.

`factors` [N, K] are the signs of the edges, 0 where one is closed. Scores are kept in base 2.
"""

from __future__ import annotations

import triton
import triton.language as tl

from inn.ops.gpu_kernels import product

LN2 = tl.constexpr(0.6931471805599453)
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def read(base, rows, known, width, stride, d):
    """Rows [BLOCK, d] as float32; zeros where one is not known."""
    inside = known[:, None] & (width < d)[None, :]
    return tl.load(base + rows[:, None] * stride + width[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def write(base, rows, known, width, stride, d, values):
    inside = known[:, None] & (width < d)[None, :]
    tl.store(base + rows[:, None] * stride + width[None, :], values.to(base.dtype.element_ty), mask=inside)


@triton.jit
def tile(base, steps, wide, rows, T, v_b, v_t, columns):
    """Steps of one neuron, [BM, BC]: rows `steps` of B · T, columns `wide`."""
    at = (steps // T) * v_b + (steps % T) * v_t
    inside = (steps < rows)[:, None] & (wide < columns)[None, :]
    return tl.load(base + at[:, None] + wide[None, :], mask=inside, other=0.0)


@triton.jit
def put(base, steps, wide, rows, T, v_b, v_t, columns, values):
    at = (steps // T) * v_b + (steps % T) * v_t
    inside = (steps < rows)[:, None] & (wide < columns)[None, :]
    tl.store(base + at[:, None] + wide[None, :], values.to(base.dtype.element_ty), mask=inside)


@triton.jit
def place(T, N, H, BLOCK: tl.constexpr):
    """Of this program: stream, step, both as one number, head, neurons. Grid: (B · T) · (blocks of neurons) · H."""
    h = tl.program_id(0) % H
    rest = tl.program_id(0) // H
    blocks = tl.cdiv(N, BLOCK)
    row = (rest // blocks).to(tl.int64)
    return row // T, row % T, row, h, rest % blocks * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def edge(e, to, inside, sources, factors, present, row, N, K):
    """The sources of edge e of some listeners, its factor, and whether something is heard over it."""
    source = tl.load(sources + to * K + e, mask=inside, other=0)
    factor = tl.load(factors + to * K + e, mask=inside, other=0.0)
    heard = factor != 0.0
    if present is not None:
        heard = heard & (tl.load(present + row * N + source, mask=inside, other=0) != 0)
    return source, factor, heard


@triton.jit
def score(queries, keys, log_weights, at, heard, scale):
    s = tl.sum(queries * keys, axis=1) * scale
    if log_weights is not None:
        s += tl.load(log_weights + at, mask=heard, other=0.0) * LOG2E
    return tl.where(heard, s, float("-inf"))


@triton.jit
def neighbours_forward(
    q, k, v, sources, factors, log_weights, present, out, lse, weights,
    q_b, q_t, q_n, k_b, k_t, k_n, v_b, v_t, v_n, out_b, out_t, out_n,
    T, N, K, H, d, scale, BLOCK: tl.constexpr, DP: tl.constexpr,
):  # fmt: skip
    b, t, row, h, to = place(T, N, H, BLOCK)
    inside, width = to < N, tl.arange(0, DP)
    k += b * k_b + t * k_t + h * d
    v += b * v_b + t * v_t + h * d
    queries = read(q + b * q_b + t * q_t + h * d, to, inside, width, q_n, d)
    best = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    message = tl.zeros([BLOCK, DP], tl.float32)
    for e in range(0, K):
        source, factor, heard = edge(e, to, inside, sources, factors, present, row, N, K)
        s = score(queries, read(k, source, heard, width, k_n, d), log_weights, to * K + e, heard, scale)
        better = tl.maximum(best, s)
        finite = tl.where(better == float("-inf"), 0.0, better)
        p = tl.exp2(s - finite)
        fade = tl.exp2(best - finite)
        total = total * fade + p
        message = message * fade[:, None] + (p * factor)[:, None] * read(v, source, heard, width, v_n, d)
        best = better
    some = tl.where(total == 0.0, 1.0, total)
    write(out + b * out_b + t * out_t + h * d, to, inside, width, out_n, d, message / some[:, None])
    norm = tl.where(total == 0.0, 0.0, best + tl.log2(some))
    if lse is not None:
        tl.store(lse + (row * H + h) * N + to, norm, mask=inside)
    if weights is not None:
        for e in range(0, K):
            source, _, heard = edge(e, to, inside, sources, factors, present, row, N, K)
            s = score(queries, read(k, source, heard, width, k_n, d), log_weights, to * K + e, heard, scale)
            tl.store(weights + ((row * H + h) * N + to) * K + e, tl.exp2(s - norm), mask=inside)


@triton.jit
def neighbours_backward_queries(
    gout, q, k, v, sources, factors, log_weights, present, out, lse, gq, delta, gscores,
    gout_b, gout_t, gout_n, q_b, q_t, q_n, k_b, k_t, k_n, v_b, v_t, v_n, out_b, out_t, out_n, gq_b, gq_t, gq_n,
    T, N, K, H, d, scale, BLOCK: tl.constexpr, DP: tl.constexpr,
):  # fmt: skip
    """Of listeners: `gq`, `delta` [B, T, H, N], the mean gradient of their weights, and that of scores, if wanted."""
    b, t, row, h, to = place(T, N, H, BLOCK)
    inside, width = to < N, tl.arange(0, DP)
    k += b * k_b + t * k_t + h * d
    v += b * v_b + t * v_t + h * d
    queries = read(q + b * q_b + t * q_t + h * d, to, inside, width, q_n, d)
    g = read(gout + b * gout_b + t * gout_t + h * d, to, inside, width, gout_n, d)
    messages = read(out + b * out_b + t * out_t + h * d, to, inside, width, out_n, d)
    mean = tl.sum(g * messages, axis=1)
    tl.store(delta + (row * H + h) * N + to, mean, mask=inside)
    norm = tl.load(lse + (row * H + h) * N + to, mask=inside, other=0.0)
    total = tl.zeros([BLOCK, DP], tl.float32)
    for e in range(0, K):
        source, factor, heard = edge(e, to, inside, sources, factors, present, row, N, K)
        keys = read(k, source, heard, width, k_n, d)
        p = tl.exp2(score(queries, keys, log_weights, to * K + e, heard, scale) - norm)
        gs = p * (tl.sum(g * read(v, source, heard, width, v_n, d), axis=1) * factor - mean)
        total += gs[:, None] * keys
        if gscores is not None:
            tl.store(gscores + ((row * H + h) * N + to) * K + e, gs, mask=inside)
    write(gq + b * gq_b + t * gq_t + h * d, to, inside, width, gq_n, d, total * (scale * LN2))


@triton.jit
def source_of(T, N, H, BLOCK: tl.constexpr):
    """Of this program, where one source takes a block of steps: them, it, the head. Grid: (blocks of B · T) · N · H."""
    rest = tl.program_id(0) // H
    return (rest // N).to(tl.int64) * BLOCK + tl.arange(0, BLOCK), (rest % N).to(tl.int64), tl.program_id(0) % H


@triton.jit
def neighbours_backward_keys(
    gout, q, k, v, starts, order, factors, log_weights, present, lse, delta, gk, gv,
    gout_b, gout_t, gout_n, q_b, q_t, q_n, k_b, k_t, k_n, v_b, v_t, v_n, gk_b, gk_t, gk_n, gv_b, gv_t, gv_n,
    rows, T, N, K, H, d, scale, BLOCK: tl.constexpr, DP: tl.constexpr,
):  # fmt: skip
    """Of a source: the gradients of its keys and values."""
    steps, j, h = source_of(T, N, H, BLOCK)
    known, width = steps < rows, tl.arange(0, DP)
    if present is not None:
        known = known & (tl.load(present + steps * N + j, mask=known, other=0) != 0)
    keys = tile(k + j * k_n + h * d, steps, width, rows, T, k_b, k_t, d).to(tl.float32)
    values = tile(v + j * v_n + h * d, steps, width, rows, T, v_b, v_t, d).to(tl.float32)
    gkeys = tl.zeros([BLOCK, DP], tl.float32)
    gvalues = tl.zeros([BLOCK, DP], tl.float32)
    for n in range(tl.load(starts + j), tl.load(starts + j + 1)):
        at = tl.load(order + n)
        i, factor = at // K, tl.load(factors + at)
        queries = tile(q + i * q_n + h * d, steps, width, rows, T, q_b, q_t, d).to(tl.float32)
        g = tile(gout + i * gout_n + h * d, steps, width, rows, T, gout_b, gout_t, d).to(tl.float32)
        s = tl.sum(queries * keys, axis=1) * scale
        if log_weights is not None:
            s += tl.load(log_weights + at) * LOG2E
        norm = tl.load(lse + (steps * H + h) * N + i, mask=steps < rows, other=0.0)
        mean = tl.load(delta + (steps * H + h) * N + i, mask=steps < rows, other=0.0)
        p = tl.exp2(tl.where(known, s, float("-inf")) - norm)
        gs = tl.where(known, p * (tl.sum(g * values, axis=1) * factor - mean), 0.0)
        gvalues += (p * factor)[:, None] * g
        gkeys += gs[:, None] * queries
    put(gk + j * gk_n + h * d, steps, width, rows, T, gk_b, gk_t, d, gkeys * (scale * LN2))
    put(gv + j * gv_n + h * d, steps, width, rows, T, gv_b, gv_t, d, gvalues)


@triton.jit
def mix(
    v, weights, sources, factors, out, v_b, v_t, v_n, out_b, out_t, out_n, w_row, w_h,
    T, N, K, H, d, BLOCK: tl.constexpr, DP: tl.constexpr,
):  # fmt: skip
    """o_i = Σ_e w_ie v_s(i, e), with weights [N, K] that are `w_row` and `w_h` numbers apart."""
    b, t, row, h, to = place(T, N, H, BLOCK)
    inside, width = to < N, tl.arange(0, DP)
    v += b * v_b + t * v_t + h * d
    weights += row * w_row + h * w_h
    total = tl.zeros([BLOCK, DP], tl.float32)
    for e in range(0, K):
        source, _, heard = edge(e, to, inside, sources, factors, None, row, N, K)
        w = tl.load(weights + to * K + e, mask=heard, other=0.0)
        total += w[:, None] * read(v, source, heard, width, v_n, d)
    write(out + b * out_b + t * out_t + h * d, to, inside, width, out_n, d, total)


@triton.jit
def spread(
    g, weights, starts, order, out, g_b, g_t, g_n, out_b, out_t, out_n, w_row, w_h,
    rows, T, N, K, H, d, BLOCK: tl.constexpr, DP: tl.constexpr,
):  # fmt: skip
    """o_j = Σ w_ie g_i over the edges (i, e) that lead away from j."""
    steps, j, h = source_of(T, N, H, BLOCK)
    width = tl.arange(0, DP)
    total = tl.zeros([BLOCK, DP], tl.float32)
    for n in range(tl.load(starts + j), tl.load(starts + j + 1)):
        at = tl.load(order + n)
        w = tl.load(weights + steps * w_row + h * w_h + at, mask=steps < rows, other=0.0)
        total += w[:, None] * tile(g + at // K * g_n + h * d, steps, width, rows, T, g_b, g_t, d).to(tl.float32)
    put(out + j * out_n + h * d, steps, width, rows, T, out_b, out_t, d, total)


@triton.jit
def scores(
    q, k, sources, factors, found, q_b, q_t, q_n, k_b, k_t, k_n,
    T, N, K, H, d, BLOCK: tl.constexpr, DP: tl.constexpr,
):  # fmt: skip
    """q_i · k_s(i, e), [B, T, H, N, K]."""
    b, t, row, h, to = place(T, N, H, BLOCK)
    inside, width = to < N, tl.arange(0, DP)
    k += b * k_b + t * k_t + h * d
    queries = read(q + b * q_b + t * q_t + h * d, to, inside, width, q_n, d)
    for e in range(0, K):
        source, _, heard = edge(e, to, inside, sources, factors, None, row, N, K)
        s = tl.sum(queries * read(k, source, heard, width, k_n, d), axis=1)
        tl.store(found + ((row * H + h) * N + to) * K + e, s, mask=inside)


@triton.jit
def messages_forward(
    x, weight, sources, factors, y, x_b, x_t, x_n, y_b, y_t, y_n, w_p, w_i, w_k,
    rows, T, M, K, D, I, BM: tl.constexpr, BI: tl.constexpr, BD: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Grid: M · (blocks of steps) · (blocks of I)."""
    blocks = tl.cdiv(I, BI)
    o = tl.program_id(0) % blocks * BI + tl.arange(0, BI)
    rest = tl.program_id(0) // blocks
    steps = (rest // M).to(tl.int64) * BM + tl.arange(0, BM)
    i = (rest % M).to(tl.int64)
    total = tl.zeros([BM, BI], tl.float32)
    for e in range(0, K):
        factor = tl.load(factors + i * K + e)
        if factor != 0.0:
            source = tl.load(sources + i * K + e)
            part = tl.zeros([BM, BI], tl.float32)
            for first in range(0, D, BD):
                c = first + tl.arange(0, BD)
                a = tile(x + source * x_n, steps, c, rows, T, x_b, x_t, D)
                inside = (c < D)[:, None] & (o < I)[None, :]
                w = tl.load(weight + i * w_p + o[None, :] * w_i + e * w_k + c[:, None], mask=inside, other=0.0)
                part += product(a, w, EXACT)
            total += part * factor
    put(y + i * y_n, steps, o, rows, T, y_b, y_t, I, total)


@triton.jit
def messages_backward_inputs(
    gy, weight, starts, order, factors, gx, gy_b, gy_t, gy_n, gx_b, gx_t, gx_n, w_p, w_i, w_k,
    rows, T, N, K, D, I, BM: tl.constexpr, BI: tl.constexpr, BD: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Grid: N · (blocks of steps) · (blocks of D)."""
    blocks = tl.cdiv(D, BD)
    c = tl.program_id(0) % blocks * BD + tl.arange(0, BD)
    rest = tl.program_id(0) // blocks
    steps = (rest // N).to(tl.int64) * BM + tl.arange(0, BM)
    j = (rest % N).to(tl.int64)
    total = tl.zeros([BM, BD], tl.float32)
    for n in range(tl.load(starts + j), tl.load(starts + j + 1)):
        at = tl.load(order + n)
        i, e = at // K, at % K
        part = tl.zeros([BM, BD], tl.float32)
        for first in range(0, I, BI):
            o = first + tl.arange(0, BI)
            g = tile(gy + i * gy_n, steps, o, rows, T, gy_b, gy_t, I)
            inside = (o < I)[:, None] & (c < D)[None, :]
            w = tl.load(weight + i * w_p + o[:, None] * w_i + e * w_k + c[None, :], mask=inside, other=0.0)
            part += product(g, w, EXACT)
        total += part * tl.load(factors + at)
    put(gx + j * gx_n, steps, c, rows, T, gx_b, gx_t, D, total)


@triton.jit
def messages_backward_weights(
    gy, x, sources, factors, gweight, gy_b, gy_t, gy_n, x_b, x_t, x_n,
    rows, T, M, K, D, I, BM: tl.constexpr, BI: tl.constexpr, BD: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """`gweight` is [M, I, K, D]. Grid: M · K · (blocks of I) · (blocks of D)."""
    wide, high = tl.cdiv(D, BD), tl.cdiv(I, BI)
    c = tl.program_id(0) % wide * BD + tl.arange(0, BD)
    rest = tl.program_id(0) // wide
    o = rest % high * BI + tl.arange(0, BI)
    at = (rest // high).to(tl.int64)
    i, e = at // K, at % K
    factor, source = tl.load(factors + at), tl.load(sources + at)
    total = tl.zeros([BI, BD], tl.float32)
    if factor != 0.0:
        for first in range(0, rows, BM):
            steps = first + tl.arange(0, BM)
            g = tile(gy + i * gy_n, steps, o, rows, T, gy_b, gy_t, I)
            total += product(tl.trans(g), tile(x + source * x_n, steps, c, rows, T, x_b, x_t, D), EXACT)
    to = gweight + ((i * I + o[:, None]) * K + e) * D + c[None, :]
    tl.store(to, total * factor, mask=(o < I)[:, None] & (c < D)[None, :])
