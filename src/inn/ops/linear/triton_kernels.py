"""Linear maps of neurons that each have their own weights, on a GPU: tiled products that step over the other neurons.

A row is a stream and a step; the rows of one neuron lie N widths apart, and each is read as one dense run.
"""

from __future__ import annotations

import triton
import triton.language as tl

from inn.ops.gpu_kernels import product


@triton.jit
def offsets(m, T, stride_b, stride_t):
    """Where the rows `m` of all streams and steps begin."""
    return (m // T).to(tl.int64) * stride_b + (m % T).to(tl.int64) * stride_t


@triton.jit
def maps(
    x, weight, bias, y, x_b, x_t, x_n, y_b, y_t, y_n, w_n, w_o, w_i, M, T, N, O, I,
    BM: tl.constexpr, BO: tl.constexpr, BI: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """y = x · weightᵀ + bias. Grid: N · blocks of rows · blocks of outputs; neighbours share rows, then weights."""
    outputs = tl.cdiv(O, BO)
    rest = tl.program_id(0) // outputs
    blocks = tl.cdiv(M, BM)
    n = (rest // blocks).to(tl.int64)
    m = rest % blocks * BM + tl.arange(0, BM)
    o = tl.program_id(0) % outputs * BO + tl.arange(0, BO)
    i = tl.arange(0, BI)
    in_m = m < M
    in_o = o < O
    x += n * x_n
    weight += n * w_n
    x_p = x + offsets(m, T, x_b, x_t)[:, None] + i[None, :]
    w_p = weight + o[None, :] * w_o + i[:, None] * w_i
    total = tl.zeros([BM, BO], tl.float32)
    for first in range(0, I, BI):
        in_i = first + i < I
        xs = tl.load(x_p, mask=in_m[:, None] & in_i[None, :], other=0.0)
        ws = tl.load(w_p, mask=in_i[:, None] & in_o[None, :], other=0.0)
        total += product(xs, ws, EXACT)
        x_p += BI
        w_p += BI * w_i
    if bias is not None:
        total += tl.load(bias + n * O + o, mask=in_o, other=0.0).to(tl.float32)[None, :]
    y_p = y + n * y_n + offsets(m, T, y_b, y_t)[:, None] + o[None, :]
    tl.store(y_p, total.to(y.dtype.element_ty), mask=in_m[:, None] & in_o[None, :])


@triton.jit
def weight_gradient(
    gy, x, gweight, gbias, gy_b, gy_t, gy_n, x_b, x_t, x_n, M, T, N, O, I, parts, rows,
    BM: tl.constexpr, BO: tl.constexpr, BI: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """gyᵀ · x over `rows` rows, a multiple of BM. Grid: N · parts · blocks of outputs · blocks of inputs. Sums over
    parts are left to the caller: gweight [parts, N, O, I], gbias [parts, N, O].
    """
    inputs = tl.cdiv(I, BI)
    outputs = tl.cdiv(O, BO)
    i = tl.program_id(0) % inputs * BI + tl.arange(0, BI)
    rest = tl.program_id(0) // inputs
    o = rest % outputs * BO + tl.arange(0, BO)
    rest = rest // outputs
    part = rest % parts
    n = (rest // parts).to(tl.int64)
    in_o = o < O
    in_i = i < I
    gy += n * gy_n
    x += n * x_n
    total = tl.zeros([BO, BI], tl.float32)
    sums = tl.zeros([BO], tl.float32)
    for first in range(part * rows, tl.minimum((part + 1) * rows, M), BM):
        m = first + tl.arange(0, BM)
        in_m = m < M
        gs = tl.load(
            gy + offsets(m, T, gy_b, gy_t)[:, None] + o[None, :], mask=in_m[:, None] & in_o[None, :], other=0.0
        )
        xs = tl.load(x + offsets(m, T, x_b, x_t)[:, None] + i[None, :], mask=in_m[:, None] & in_i[None, :], other=0.0)
        total += product(tl.trans(gs), xs, EXACT)
        if gbias is not None:
            sums += tl.sum(gs.to(tl.float32), axis=0)
    place = (part.to(tl.int64) * N + n) * O
    tl.store(gweight + (place + o)[:, None] * I + i[None, :], total, mask=in_o[:, None] & in_i[None, :])
    if gbias is not None:
        tl.store(gbias + place + o, sums, mask=in_o & (tl.program_id(0) % inputs == 0))
