"""The loop of gated cells on a GPU: a program walks time for a block of streams of one neuron, its states in registers.

Tiles are [BB, HP], streams by units. The recurrent product is a `dot` per gate and step, BK of its columns at a time,
by weights that stay in the caches; all is float32 inside. Cells: 0 elman, 1 gru, 2 lstm, 3 slstm.
"""

from __future__ import annotations

import triton
import triton.language as tl

from inn.ops.gpu_kernels import product


@triton.jit
def tanh(x):
    """By the exponential of what is not positive, so that nothing overflows."""
    small = tl.exp(-2.0 * tl.abs(x))
    size = (1.0 - small) / (1.0 + small)
    return tl.where(x < 0.0, -size, size)


@triton.jit
def log_sigmoid(x):
    """log σ(x)."""
    return tl.minimum(x, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(x)))


@triton.jit
def weighed(a0, a1, norm, top):
    """Of an sLSTM: what would be kept, the new stabiliser, and by how much the cell and what comes in count."""
    keep = tl.where(norm > 0.0, log_sigmoid(a1) + top, a0 - 1.0)  # before there is something, less than comes in
    top1 = tl.maximum(keep, a0)
    return keep, top1, tl.exp(keep - top1), tl.exp(a0 - top1)


@triton.jit
def hear(
    rows, in_b, weight, gate: tl.constexpr, back: tl.constexpr, H,
    HP: tl.constexpr, BB: tl.constexpr, BK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """One gate of the recurrent product: h Uᵀ, or, `back`, what its gradient makes of that of h, g U.

    `rows` is where h or g lies, stream by stream, BK numbers of which are read at a time; `weight` is [gates, H, H].
    """
    o = tl.arange(0, HP)
    total = tl.zeros([BB, HP], tl.float32)
    for first in range(0, H, BK):
        k = first + tl.arange(0, BK)
        some = tl.load(rows[:, None] + k[None, :], mask=in_b[:, None] & (k < H)[None, :], other=0.0)
        if back:
            place = (gate * H + k)[:, None] * H + o[None, :]
        else:
            place = (gate * H + o)[None, :] * H + k[:, None]
        u = tl.load(weight + place, mask=(k < H)[:, None] & (o < H)[None, :], other=0.0)
        total += product(some, u, EXACT)
    return total


@triton.jit
def loop_forward(
    x, state, reset, mask, weight, bias, y, last, kept,
    x_b, x_t, x_n, y_b, y_t, y_n, B, T, N, H, w_n, bias_n,
    CELL: tl.constexpr, S: tl.constexpr, KEEP: tl.constexpr,
    HP: tl.constexpr, BB: tl.constexpr, BK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Grid: blocks of streams · N. `kept` [B, T, N, S, H] gets the states that each step starts from."""
    n = (tl.program_id(0) % N).to(tl.int64)
    b = (tl.program_id(0) // N).to(tl.int64) * BB + tl.arange(0, BB)
    j = tl.arange(0, HP)
    in_b = b < B
    inside = in_b[:, None] & (j < H)[None, :]
    weight += n * w_n
    own = ((b * N + n) * S * H)[:, None] + j[None, :]
    h = tl.load(state + own, mask=inside, other=0.0)
    c = h
    norm = h
    top = h
    if S > 1:
        c = tl.load(state + own + H, mask=inside, other=0.0)
    if S > 2:
        norm = tl.load(state + own + 2 * H, mask=inside, other=0.0)
        top = tl.load(state + own + 3 * H, mask=inside, other=0.0)
    inner = tl.zeros([BB, HP], tl.float32)
    if CELL == 1:
        inner += tl.load(bias + n * bias_n + j, mask=j < H, other=0.0)[None, :]
    for t in range(T):
        if reset is not None:
            fresh = (tl.load(reset + b * T + t, mask=in_b, other=0) != 0)[:, None]
            h = tl.where(fresh, 0.0, h)
            c = tl.where(fresh, 0.0, c)
            norm = tl.where(fresh, 0.0, norm)
            top = tl.where(fresh, 0.0, top)
        valid = inside
        if mask is not None:
            valid = inside & (tl.load(mask + (b * T + t) * N + n, mask=in_b, other=0) != 0)[:, None]
        # The product reads h from memory, where the whole program has to have put it.
        rows = last + (b * N + n) * S * H
        if KEEP:
            rows = kept + ((b * T + t) * N + n) * S * H
        to = rows[:, None] + j[None, :]
        tl.debug_barrier()
        tl.store(to, tl.where(valid, h, 0.0), mask=inside)
        tl.debug_barrier()
        if KEEP:
            if S > 1:
                tl.store(to + H, c, mask=inside)
            if S > 2:
                tl.store(to + 2 * H, norm, mask=inside)
                tl.store(to + 3 * H, top, mask=inside)
        at = x + (b * x_b + t * x_t + n * x_n)[:, None] + j[None, :]
        x0 = tl.load(at, mask=valid, other=0.0).to(tl.float32)
        if CELL == 0:
            h1 = tanh(x0 + hear(rows, in_b, weight, 0, False, H, HP, BB, BK, EXACT))
        else:
            x1 = tl.load(at + H, mask=valid, other=0.0).to(tl.float32)
            x2 = tl.load(at + 2 * H, mask=valid, other=0.0).to(tl.float32)
            a0 = x0 + hear(rows, in_b, weight, 0, False, H, HP, BB, BK, EXACT)
            a1 = x1 + hear(rows, in_b, weight, 1, False, H, HP, BB, BK, EXACT)
            a2 = hear(rows, in_b, weight, 2, False, H, HP, BB, BK, EXACT)
            if CELL == 1:
                new = tanh(x2 + tl.sigmoid(a0) * (a2 + inner))
                h1 = new + tl.sigmoid(a1) * (h - new)
            else:
                x3 = tl.load(at + 3 * H, mask=valid, other=0.0).to(tl.float32)
                out = tl.sigmoid(x3 + hear(rows, in_b, weight, 3, False, H, HP, BB, BK, EXACT))
                write = tanh(x2 + a2)
                if CELL == 2:
                    c1 = tl.sigmoid(a1) * c + tl.sigmoid(a0) * write
                    h1 = out * tanh(c1)
                else:
                    _, top1, old, new = weighed(a0, a1, norm, top)
                    c1 = old * c + new * write
                    norm1 = old * norm + new
                    h1 = out * c1 / norm1
                    norm = tl.where(valid, norm1, norm)
                    top = tl.where(valid, top1, top)
                c = tl.where(valid, c1, c)
        h = tl.where(valid, h1, h)
        said = tl.where(valid, h1, 0.0)
        tl.store(y + (b * y_b + t * y_t + n * y_n)[:, None] + j[None, :], said.to(y.dtype.element_ty), mask=inside)
    tl.store(last + own, h, mask=inside)
    if S > 1:
        tl.store(last + own + H, c, mask=inside)
    if S > 2:
        tl.store(last + own + 2 * H, norm, mask=inside)
        tl.store(last + own + 3 * H, top, mask=inside)


@triton.jit
def loop_backward(
    gy, glast, x, reset, mask, weight, bias, kept, gx, gheard, gstate,
    gy_b, gy_t, gy_n, x_b, x_t, x_n, gx_b, gx_t, gx_n, B, T, N, H, w_n, bias_n,
    CELL: tl.constexpr, S: tl.constexpr, GATES: tl.constexpr,
    HP: tl.constexpr, BB: tl.constexpr, BK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Grid: as forward. `gheard` [B, T, N, GATES, H] gets the gradients of the recurrent products, of which those of
    the weights are made afterwards; the gates are computed again from the states that were kept.
    """
    n = (tl.program_id(0) % N).to(tl.int64)
    b = (tl.program_id(0) // N).to(tl.int64) * BB + tl.arange(0, BB)
    j = tl.arange(0, HP)
    in_b = b < B
    inside = in_b[:, None] & (j < H)[None, :]
    weight += n * w_n
    own = ((b * N + n) * S * H)[:, None] + j[None, :]
    gh = tl.zeros([BB, HP], tl.float32)
    gc = gh
    gnorm = gh
    gtop = gh
    inner = gh
    if glast is not None:
        gh = tl.load(glast + own, mask=inside, other=0.0)
        if S > 1:
            gc = tl.load(glast + own + H, mask=inside, other=0.0)
        if S > 2:
            gnorm = tl.load(glast + own + 2 * H, mask=inside, other=0.0)
            gtop = tl.load(glast + own + 3 * H, mask=inside, other=0.0)
    if CELL == 1:
        inner += tl.load(bias + n * bias_n + j, mask=j < H, other=0.0)[None, :]
    for back in range(T):
        t = T - 1 - back
        valid = inside
        if mask is not None:
            valid = inside & (tl.load(mask + (b * T + t) * N + n, mask=in_b, other=0) != 0)[:, None]
        rows = kept + ((b * T + t) * N + n) * S * H
        before = rows[:, None] + j[None, :]
        h = tl.load(before, mask=valid, other=0.0)
        at = x + (b * x_b + t * x_t + n * x_n)[:, None] + j[None, :]
        g = tl.load(gy + (b * gy_b + t * gy_t + n * gy_n)[:, None] + j[None, :], mask=valid, other=0.0).to(tl.float32)
        g = tl.where(valid, g + gh, 0.0)
        to_x = gx + (b * gx_b + t * gx_t + n * gx_n)[:, None] + j[None, :]
        heard = gheard + ((b * T + t) * N + n) * GATES * H
        to_heard = heard[:, None] + j[None, :]
        kind = gx.dtype.element_ty
        x0 = tl.load(at, mask=valid, other=0.0).to(tl.float32)
        a0 = x0 + hear(rows, in_b, weight, 0, False, H, HP, BB, BK, EXACT)
        before_h = tl.zeros([BB, HP], tl.float32)
        if CELL == 0:
            h1 = tanh(a0)
            g0 = g * (1.0 - h1 * h1)
        else:
            x1 = tl.load(at + H, mask=valid, other=0.0).to(tl.float32)
            x2 = tl.load(at + 2 * H, mask=valid, other=0.0).to(tl.float32)
            a1 = x1 + hear(rows, in_b, weight, 1, False, H, HP, BB, BK, EXACT)
            a2 = hear(rows, in_b, weight, 2, False, H, HP, BB, BK, EXACT)
            if CELL == 1:
                r = tl.sigmoid(a0)
                z = tl.sigmoid(a1)
                new = tanh(x2 + r * (a2 + inner))
                gnew = g * (1.0 - z) * (1.0 - new * new)
                g0 = gnew * (a2 + inner) * r * (1.0 - r)
                g1 = g * (h - new) * z * (1.0 - z)
                g2 = gnew * r
                before_h += g * z
                tl.store(to_x + 2 * H, tl.where(valid, gnew, 0.0).to(kind), mask=inside)
            else:
                x3 = tl.load(at + 3 * H, mask=valid, other=0.0).to(tl.float32)
                out = tl.sigmoid(x3 + hear(rows, in_b, weight, 3, False, H, HP, BB, BK, EXACT))
                write = tanh(x2 + a2)
                c = tl.load(before + H, mask=valid, other=0.0)
                if CELL == 2:
                    i = tl.sigmoid(a0)
                    f = tl.sigmoid(a1)
                    said = tanh(f * c + i * write)
                    gc1 = gc + g * out * (1.0 - said * said)
                    g0 = gc1 * write * i * (1.0 - i)
                    g1 = gc1 * c * f * (1.0 - f)
                    g2 = gc1 * i * (1.0 - write * write)
                    g3 = g * said * out * (1.0 - out)
                    before_c = gc1 * f
                else:
                    norm = tl.load(before + 2 * H, mask=valid, other=0.0)
                    top = tl.load(before + 3 * H, mask=valid, other=0.0)
                    keep, _, old, new = weighed(a0, a1, norm, top)
                    c1 = old * c + new * write
                    norm1 = old * norm + new
                    gc1 = gc + g * out / norm1
                    gnorm1 = gnorm - g * out * c1 / (norm1 * norm1)
                    gold = (gc1 * c + gnorm1 * norm) * old
                    gadd = (gc1 * write + gnorm1) * new
                    # the maximum's gradient goes to the larger; half to each where they are equal
                    share = tl.where(keep > a0, 1.0, tl.where(keep == a0, 0.5, 0.0))
                    through = gtop - gold - gadd
                    gkeep = gold + through * share
                    g0 = gadd + through * (1.0 - share)
                    g1 = gkeep * tl.sigmoid(-a1)
                    g2 = gc1 * new * (1.0 - write * write)
                    g3 = g * c1 / norm1 * out * (1.0 - out)
                    before_c = gc1 * old
                    gnorm = tl.where(valid, gnorm1 * old, gnorm)
                    gtop = tl.where(valid, gkeep, gtop)
                g3 = tl.where(valid, g3, 0.0)
                g2 = tl.where(valid, g2, 0.0)
                gc = tl.where(valid, before_c, gc)
                tl.store(to_x + 2 * H, g2.to(kind), mask=inside)
                tl.store(to_x + 3 * H, g3.to(kind), mask=inside)
                tl.store(to_heard + 3 * H, g3, mask=inside)
            g1 = tl.where(valid, g1, 0.0)
            g2 = tl.where(valid, g2, 0.0)
            tl.store(to_x + H, g1.to(kind), mask=inside)
            tl.store(to_heard + H, g1, mask=inside)
            tl.store(to_heard + 2 * H, g2, mask=inside)
        g0 = tl.where(valid, g0, 0.0)
        tl.store(to_x, g0.to(kind), mask=inside)
        tl.store(to_heard, g0, mask=inside)
        tl.debug_barrier()
        before_h += hear(heard, in_b, weight, 0, True, H, HP, BB, BK, EXACT)
        if GATES > 1:
            before_h += hear(heard + H, in_b, weight, 1, True, H, HP, BB, BK, EXACT)
            before_h += hear(heard + 2 * H, in_b, weight, 2, True, H, HP, BB, BK, EXACT)
        if GATES > 3:
            before_h += hear(heard + 3 * H, in_b, weight, 3, True, H, HP, BB, BK, EXACT)
        gh = tl.where(valid, before_h, gh)
        if reset is not None:
            fresh = (tl.load(reset + b * T + t, mask=in_b, other=0) != 0)[:, None]
            gh = tl.where(fresh, 0.0, gh)
            gc = tl.where(fresh, 0.0, gc)
            gnorm = tl.where(fresh, 0.0, gnorm)
            gtop = tl.where(fresh, 0.0, gtop)
    tl.store(gstate + own, gh, mask=inside)
    if S > 1:
        tl.store(gstate + own + H, gc, mask=inside)
    if S > 2:
        tl.store(gstate + own + 2 * H, gnorm, mask=inside)
        tl.store(gstate + own + 3 * H, gtop, mask=inside)
