"""The convolution on a GPU: a program walks a stretch of time for a block of channels, the window in registers.

Always four taps; a shorter kernel's oldest ones are zero. The window holds the last three inputs that were let in
(`x1` the newest); the three steps before a stretch are walked first, so that stretches are independent. With a mask
an earlier input may lie anywhere: then one stretch is all of time.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def taps(weight, e, in_e, K: tl.constexpr):
    """Weights [4] of the channels `e`, oldest first, of a kernel [E, K]."""
    w3 = tl.load(weight + e * K + K - 1, mask=in_e, other=0.0)
    w2 = tl.zeros_like(w3)
    w1 = w2
    w0 = w2
    if K > 1:
        w2 = tl.load(weight + e * K + K - 2, mask=in_e, other=0.0)
    if K > 2:
        w1 = tl.load(weight + e * K + K - 3, mask=in_e, other=0.0)
    if K > 3:
        w0 = tl.load(weight + e * K, mask=in_e, other=0.0)
    return w0, w1, w2, w3


@triton.jit
def input_at(x, x_t, state, t, T, E, e, in_e, K: tl.constexpr):
    """The input of step t, which the state holds where t is negative; zeros before that and after the end."""
    xt = tl.load(x + t * x_t + e, mask=in_e & (t >= 0) & (t < T), other=0.0).to(tl.float32)
    if K > 1:
        xt += tl.load(state + (t + K - 1) * E + e, mask=in_e & (t < 0) & (t > -K), other=0.0)
    return xt


@triton.jit
def conv_forward(
    x, weight, bias, state, reset, mask, y, last, x_b, x_t, x_n, y_b, y_t, y_n, T, N, E, stretches,
    K: tl.constexpr, SHARED: tl.constexpr, STRETCH: tl.constexpr, BE: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Grid: B · N · stretches · blocks of BE channels. STRETCH 0: one stretch."""
    blocks = tl.cdiv(E, BE)
    block = tl.program_id(0) % blocks
    rest = tl.program_id(0) // blocks
    stretch = rest % stretches
    row = rest // stretches
    n = (row % N).to(tl.int64)
    b = (row // N).to(tl.int64)
    row = row.to(tl.int64)
    p = 0 if SHARED else n
    e = block * BE + tl.arange(0, BE)
    in_e = e < E
    w0, w1, w2, w3 = taps(weight + p * E * K, e, in_e, K)
    offset = tl.load(bias + p * E + e, mask=in_e, other=0.0)
    x += b * x_b + n * x_n
    y += b * y_b + n * y_n
    state += row * (K - 1) * E
    last += row * (K - 1) * E
    begin = stretch * STRETCH
    end = tl.minimum(begin + STRETCH, T) if STRETCH > 0 else T

    x1 = tl.zeros([BE], tl.float32)
    x2 = x1
    x3 = x1
    for k in tl.static_range(3):
        t = tl.cast(begin - 3 + k, tl.int64)
        if reset is not None:
            fresh = tl.load(reset + b * T + t, mask=(t >= 0) & (t < T), other=0) != 0
            x1 = tl.where(fresh, 0.0, x1)
            x2 = tl.where(fresh, 0.0, x2)
        x3 = x2
        x2 = x1
        x1 = input_at(x, x_t, state, t, T, E, e, in_e, K)

    for start in range(begin, end, STEPS):
        x_p = x + tl.cast(start, tl.int64) * x_t
        xs = ()
        for k in tl.static_range(STEPS):  # all reads before the first write, so that they are under way together
            xs = xs + (tl.load(x_p + (k * x_t + e), mask=in_e & (start + k < end), other=0.0),)
        for k in tl.static_range(STEPS):
            t = tl.cast(start + k, tl.int64)
            now = t < end
            x0 = xs[k].to(tl.float32)
            if reset is not None:
                fresh = tl.load(reset + b * T + t, mask=now, other=0) != 0
                x1 = tl.where(fresh, 0.0, x1)
                x2 = tl.where(fresh, 0.0, x2)
                x3 = tl.where(fresh, 0.0, x3)
            before = w0 * x3 + w1 * x2 + w2 * x1 + w3 * x0 + offset
            yt = before * tl.sigmoid(before)
            if mask is not None:
                now = now & (tl.load(mask + b * T + t, mask=now, other=0) != 0)
                yt = tl.where(now, yt, 0.0)
            tl.store(y + t * y_t + e, yt.to(y.dtype.element_ty), mask=in_e & (t < end))
            x3 = tl.where(now, x2, x3)
            x2 = tl.where(now, x1, x2)
            x1 = tl.where(now, x0, x1)
    if end == T:
        if K > 1:
            tl.store(last + (K - 2) * E + e, x1, mask=in_e)
        if K > 2:
            tl.store(last + (K - 3) * E + e, x2, mask=in_e)
        if K > 3:
            tl.store(last + e, x3, mask=in_e)


@triton.jit
def put(gx, gx_t, gstate, g, at, begin, end, E, e, in_e, K: tl.constexpr):
    """Write the gradient `g` of the input of step `at`, if that is in this stretch (the state holds negative steps)."""
    tl.store(gx + at * gx_t + e, g.to(gx.dtype.element_ty), mask=in_e & (at >= begin) & (at >= 0) & (at < end))
    if K > 1:
        tl.store(gstate + (at + K - 1) * E + e, g, mask=in_e & (begin == 0) & (at < 0) & (at > -K))


@triton.jit
def conv_backward(
    gy, glast, x, weight, bias, state, reset, mask, gx, gweight, gbias, gstate,
    gy_b, gy_t, gy_n, x_b, x_t, x_n, gx_b, gx_t, gx_n, T, N, E, stretches,
    K: tl.constexpr, SHARED: tl.constexpr, STRETCH: tl.constexpr, BE: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """One walk forward: an input's gradient is complete, and written, when the input leaves the window.

    Beside each input in the window goes its gradient so far (`g1`), the step it came from (`t1`) and whether it is
    still seen (`a1`: not since a reset). The walk goes on for three steps into the next stretch. Sums over streams and
    stretches are left to the caller: gweight [B, N, stretches, 4, E], gbias [B, N, stretches, E].
    """
    blocks = tl.cdiv(E, BE)
    block = tl.program_id(0) % blocks
    rest = tl.program_id(0) // blocks
    stretch = rest % stretches
    row = rest // stretches
    n = (row % N).to(tl.int64)
    b = (row // N).to(tl.int64)
    part = (rest).to(tl.int64)
    row = row.to(tl.int64)
    p = 0 if SHARED else n
    e = block * BE + tl.arange(0, BE)
    in_e = e < E
    w0, w1, w2, w3 = taps(weight + p * E * K, e, in_e, K)
    offset = tl.load(bias + p * E + e, mask=in_e, other=0.0)
    x += b * x_b + n * x_n
    gy += b * gy_b + n * gy_n
    gx += b * gx_b + n * gx_n
    state += row * (K - 1) * E
    gstate += row * (K - 1) * E
    begin = stretch * STRETCH
    end = tl.minimum(begin + STRETCH, T) if STRETCH > 0 else T
    after = tl.minimum(end + 3, T)

    g1 = tl.zeros([BE], tl.float32)
    g2 = g1
    g3 = g1
    gw0 = g1
    gw1 = g1
    gw2 = g1
    gw3 = g1
    gb = g1
    x1 = g1
    x2 = g1
    x3 = g1
    a1 = tl.cast(1.0, tl.float32)
    a2 = a1
    a3 = a1
    for k in tl.static_range(3):
        t = tl.cast(begin - 3 + k, tl.int64)
        if reset is not None:
            alive = 1.0 - tl.load(reset + b * T + t, mask=(t >= 0) & (t < T), other=0).to(tl.float32)
            a1 *= alive
            a2 *= alive
        a3 = a2
        a2 = a1
        a1 = tl.cast(1.0, tl.float32)
        x3 = x2
        x2 = x1
        x1 = input_at(x, x_t, state, t, T, E, e, in_e, K)
    x2 *= a2
    x3 *= a3
    t1 = tl.cast(begin - 1, tl.int64)
    t2 = t1 - 1
    t3 = t1 - 2

    for start in range(begin, after, STEPS):
        x_p = x + tl.cast(start, tl.int64) * x_t
        gy_p = gy + tl.cast(start, tl.int64) * gy_t
        xs = ()
        gys = ()
        for k in tl.static_range(STEPS):  # all reads before the first write
            now = start + k < after
            xs = xs + (tl.load(x_p + (k * x_t + e), mask=in_e & now, other=0.0),)
            gys = gys + (tl.load(gy_p + (k * gy_t + e), mask=in_e & now, other=0.0),)
        for k in tl.static_range(STEPS):
            t = tl.cast(start + k, tl.int64)
            now = t < after
            x0 = xs[k].to(tl.float32)
            gt = gys[k].to(tl.float32)
            if reset is not None:
                alive = 1.0 - tl.load(reset + b * T + t, mask=now, other=0).to(tl.float32)
                a1 *= alive
                a2 *= alive
                a3 *= alive
                x1 *= alive
                x2 *= alive
                x3 *= alive
            before = w0 * x3 + w1 * x2 + w2 * x1 + w3 * x0 + offset
            sig = tl.sigmoid(before)
            gt *= sig * (1.0 + before * (1.0 - sig))
            if mask is not None:
                valid = tl.load(mask + b * T + t, mask=now, other=0) != 0
                tl.store(gx + t * gx_t + e, tl.zeros([BE], gx.dtype.element_ty), mask=in_e & now & (valid == 0))
                now = now & valid
            gt = tl.where(now, gt, 0.0)
            own = tl.where(t < end, gt, 0.0)
            gw0 += own * x3
            gw1 += own * x2
            gw2 += own * x1
            gw3 += own * x0
            gb += own
            g3 += a3 * w0 * gt
            g2 += a2 * w1 * gt
            g1 += a1 * w2 * gt
            put(gx, gx_t, gstate, g3, tl.where(now, t3, T), begin, end, E, e, in_e, K)
            g3 = tl.where(now, g2, g3)
            g2 = tl.where(now, g1, g2)
            g1 = tl.where(now, w3 * gt, g1)
            x3 = tl.where(now, x2, x3)
            x2 = tl.where(now, x1, x2)
            x1 = tl.where(now, x0, x1)
            a3 = tl.where(now, a2, a3)
            a2 = tl.where(now, a1, a2)
            a1 = tl.where(now, 1.0, a1)
            t3 = tl.where(now, t2, t3)
            t2 = tl.where(now, t1, t2)
            t1 = tl.where(now, t, t1)
    if glast is not None and after == T:
        glast += row * (K - 1) * E
        if K > 1:
            g1 += a1 * tl.load(glast + (K - 2) * E + e, mask=in_e, other=0.0)
        if K > 2:
            g2 += a2 * tl.load(glast + (K - 3) * E + e, mask=in_e, other=0.0)
        if K > 3:
            g3 += a3 * tl.load(glast + e, mask=in_e, other=0.0)
    put(gx, gx_t, gstate, g3, t3, begin, end, E, e, in_e, K)
    put(gx, gx_t, gstate, g2, t2, begin, end, E, e, in_e, K)
    put(gx, gx_t, gstate, g1, t1, begin, end, E, e, in_e, K)
    gweight += part * 4 * E
    tl.store(gweight + e, gw0, mask=in_e)
    tl.store(gweight + E + e, gw1, mask=in_e)
    tl.store(gweight + 2 * E + e, gw2, mask=in_e)
    tl.store(gweight + 3 * E + e, gw3, mask=in_e)
    tl.store(gbias + part * E + e, gb, mask=in_e)
