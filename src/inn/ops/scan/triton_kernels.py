"""The scan on a GPU: a warp walks time for a block of channels of one stream and neuron, their states in registers.

Everything is float32 inside, whatever the streams are. Exponents are to the base 2, as the hardware takes them. Tiles
are [SP, BE], states by channels, and states lie densest in memory: four lanes share the states of a channel, so that
sums over states (for y and the gradients of x and dt) and sums over channels (for the gradients of B and C) both stay
mostly inside a lane. Steps past the end have size zero.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def softplus(x):
    """log(1 + e^x), also where e^x is lost beside 1."""
    small = tl.exp2(tl.minimum(x, 20.0) * LOG2E)
    series = small * (1.0 - small * (0.5 - small * (0.33333334 - small * 0.25)))
    return tl.where(x > 20.0, x, tl.where(small < 0.03, series, tl.log2(1.0 + small) * LN2))


@triton.jit
def scan_forward(
    x, dt, A, B, C, D, z, state, reset, mask, y, last, kept,
    x_b, x_t, x_n, dt_b, dt_t, dt_n, B_b, B_t, B_n, C_b, C_t, C_n, z_b, z_t, z_n, y_b, y_t, y_n,
    T, N, E, periods,
    S: tl.constexpr, SHARED: tl.constexpr, PERIOD: tl.constexpr,
    SP: tl.constexpr, BE: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Grid: B · N · blocks of BE channels. `kept` [B, N, periods, E, S] gets the states before steps PERIOD,
    2 PERIOD, ... (0: it gets nothing).
    """
    blocks = tl.cdiv(E, BE)
    block = tl.program_id(0) % blocks
    row = tl.program_id(0) // blocks
    n = (row % N).to(tl.int64)
    b = (row // N).to(tl.int64)
    row = row.to(tl.int64)
    p = 0 if SHARED else n
    e = block * BE + tl.arange(0, BE)
    s = tl.arange(0, SP)
    in_e = e < E
    in_s = s < S
    inside = in_s[:, None] & in_e[None, :]
    tile = e[None, :] * S + s[:, None]

    rate = tl.load(A + p * E * S + tile, mask=inside, other=0.0) * LOG2E
    direct = tl.load(D + p * E + e, mask=in_e, other=0.0)
    h = tl.load(state + row * E * S + tile, mask=inside, other=0.0)
    x += b * x_b + n * x_n
    dt += b * dt_b + n * dt_n
    z += b * z_b + n * z_n
    y += b * y_b + n * y_n
    B += b * B_b + n * B_n
    C += b * C_b + n * C_n
    if PERIOD > 0:
        kept += row * periods * E * S
    if reset is not None:
        reset += b * T
    if mask is not None:
        mask += b * T

    for start in range(0, T, STEPS):
        if PERIOD > 0:
            if (start % PERIOD == 0) & (start > 0):
                tl.store(kept + tile, h, mask=inside)
                kept += E * S
        xs = ()
        dts = ()
        zs = ()
        Bs = ()
        Cs = ()
        for k in tl.static_range(STEPS):  # all reads before the first write, so that they are under way together
            now = start + k < T
            xs = xs + (tl.load(x + (k * x_t + e), mask=in_e & now, other=0.0),)
            dts = dts + (tl.load(dt + (k * dt_t + e), mask=in_e & now, other=0.0),)
            zs = zs + (tl.load(z + (k * z_t + e), mask=in_e & now, other=0.0),)
            Bs = Bs + (tl.load(B + (k * B_t + s), mask=in_s & now, other=0.0),)
            Cs = Cs + (tl.load(C + (k * C_t + s), mask=in_s & now, other=0.0),)
        for k in tl.static_range(STEPS):
            now = start + k < T
            xt = xs[k].to(tl.float32)
            zt = zs[k].to(tl.float32)
            Bt = Bs[k].to(tl.float32)
            Ct = Cs[k].to(tl.float32)
            step = tl.where(now, softplus(dts[k].to(tl.float32)), 0.0)
            if mask is not None:
                step = step * tl.load(mask + start + k, mask=now, other=0).to(tl.float32)
            if reset is not None:
                h = tl.where(tl.load(reset + start + k, mask=now, other=0) != 0, 0.0, h)
            h = tl.exp2(step[None, :] * rate) * h + (step * xt)[None, :] * Bt[:, None]
            read = tl.sum(h * Ct[:, None], axis=0) + direct * xt
            tl.store(y + (k * y_t + e), (read * zt * tl.sigmoid(zt)).to(y.dtype.element_ty), mask=in_e & now)
        x += STEPS * x_t
        dt += STEPS * dt_t
        z += STEPS * z_t
        y += STEPS * y_t
        B += STEPS * B_t
        C += STEPS * C_t
    tl.store(last + row * E * S + tile, h, mask=inside)


@triton.jit
def scan_backward(
    gy, glast, x, dt, A, B, C, D, z, state, reset, mask, kept, scratch,
    gx, gdt, gA, gB, gC, gD, gz, gstate,
    gy_b, gy_t, gy_n, x_b, x_t, x_n, dt_b, dt_t, dt_n, B_b, B_t, B_n, C_b, C_t, C_n, z_b, z_t, z_n,
    gx_b, gx_t, gx_n, gdt_b, gdt_t, gdt_n, gz_b, gz_t, gz_n,
    T, N, E, periods, work,
    S: tl.constexpr, SHARED: tl.constexpr, PERIOD: tl.constexpr,
    SP: tl.constexpr, BE: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """A period at a time, the last one first: its states are made again from the kept one, one in STEPS of them is put
    into this program's part of `scratch` (small enough for the L2 cache, as programs are few and take the B · N ·
    blocks pieces of work in turn); then, the last first, STEPS states are made in registers and walked back over.

    Sums over streams, blocks and (where weights are shared) neurons are left to the caller, so that they come out the
    same in every run: gA [B, N, E, S], gD [B, N, E], gB and gC [B, T, N, blocks, S].
    """
    blocks = tl.cdiv(E, BE)
    own = tl.arange(0, BE)[None, :] * SP + tl.arange(0, SP)[:, None]
    scratch += tl.program_id(0).to(tl.int64) * (PERIOD // STEPS * SP * BE)
    s = tl.arange(0, SP)
    in_s = s < S
    gBC_t = N * blocks * S

    for piece in range(tl.program_id(0), work, tl.num_programs(0)):
        block = piece % blocks
        row = piece // blocks
        n = (row % N).to(tl.int64)
        b = (row // N).to(tl.int64)
        row = row.to(tl.int64)
        p = 0 if SHARED else n
        e = block * BE + tl.arange(0, BE)
        in_e = e < E
        inside = in_s[:, None] & in_e[None, :]
        tile = e[None, :] * S + s[:, None]
        rate = tl.load(A + p * E * S + tile, mask=inside, other=0.0) * LOG2E
        direct = tl.load(D + p * E + e, mask=in_e, other=0.0)
        if glast is not None:
            g = tl.load(glast + row * E * S + tile, mask=inside, other=0.0)
        else:
            g = tl.zeros([SP, BE], tl.float32)
        grate = tl.zeros([SP, BE], tl.float32)
        gdirect = tl.zeros([BE], tl.float32)

        for back in range(0, periods + 1):
            first = tl.cast(periods - back, tl.int64) * PERIOD
            parts = tl.cdiv(tl.minimum(PERIOD, T - first), STEPS)
            x_p = x + b * x_b + n * x_n + first * x_t
            dt_p = dt + b * dt_b + n * dt_n + first * dt_t
            B_p = B + b * B_b + n * B_n + first * B_t
            if first > 0:
                h = tl.load(kept + (row * periods + periods - back - 1) * E * S + tile, mask=inside, other=0.0)
            else:
                h = tl.load(state + row * E * S + tile, mask=inside, other=0.0)
            for part in range(0, parts - 1):
                tl.store(scratch + part * (SP * BE) + own, h)
                for k in tl.static_range(STEPS):
                    xt = tl.load(x_p + (k * x_t + e), mask=in_e, other=0.0).to(tl.float32)
                    step = softplus(tl.load(dt_p + (k * dt_t + e), mask=in_e, other=0.0).to(tl.float32))
                    Bt = tl.load(B_p + (k * B_t + s), mask=in_s, other=0.0).to(tl.float32)
                    if mask is not None:
                        step = step * tl.load(mask + b * T + first + part * STEPS + k).to(tl.float32)
                    if reset is not None:
                        h = tl.where(tl.load(reset + b * T + first + part * STEPS + k) != 0, 0.0, h)
                    h = tl.exp2(step[None, :] * rate) * h + (step * xt)[None, :] * Bt[:, None]
                x_p += STEPS * x_t
                dt_p += STEPS * dt_t
                B_p += STEPS * B_t
            tl.store(scratch + (parts - 1) * (SP * BE) + own, h)
            tl.debug_barrier()  # another lane may have written what this one reads

            for back_part in range(0, parts):
                part = parts - 1 - back_part
                start = first + part * STEPS
                h = tl.load(scratch + part * (SP * BE) + own)
                x_p = x + b * x_b + n * x_n + start * x_t
                dt_p = dt + b * dt_b + n * dt_n + start * dt_t
                B_p = B + b * B_b + n * B_n + start * B_t
                C_p = C + b * C_b + n * C_n + start * C_t
                z_p = z + b * z_b + n * z_n + start * z_t
                gy_p = gy + b * gy_b + n * gy_n + start * gy_t
                xs = ()
                dts = ()
                zs = ()
                gys = ()
                Bs = ()
                Cs = ()
                for k in tl.static_range(STEPS):  # all reads before the first write
                    now = start + k < T
                    xs = xs + (tl.load(x_p + (k * x_t + e), mask=in_e & now, other=0.0),)
                    dts = dts + (tl.load(dt_p + (k * dt_t + e), mask=in_e & now, other=0.0),)
                    zs = zs + (tl.load(z_p + (k * z_t + e), mask=in_e & now, other=0.0),)
                    gys = gys + (tl.load(gy_p + (k * gy_t + e), mask=in_e & now, other=0.0),)
                    Bs = Bs + (tl.load(B_p + (k * B_t + s), mask=in_s & now, other=0.0),)
                    Cs = Cs + (tl.load(C_p + (k * C_t + s), mask=in_s & now, other=0.0),)
                states = ()
                steps = ()
                for k in tl.static_range(STEPS):
                    now = start + k < T
                    step = tl.where(now, softplus(dts[k].to(tl.float32)), 0.0)
                    if mask is not None:
                        step = step * tl.load(mask + b * T + start + k, mask=now, other=0).to(tl.float32)
                    if reset is not None:
                        h = tl.where(tl.load(reset + b * T + start + k, mask=now, other=0) != 0, 0.0, h)
                    written = (step * xs[k].to(tl.float32))[None, :] * Bs[k].to(tl.float32)[:, None]
                    h = tl.exp2(step[None, :] * rate) * h + written
                    states = states + (h,)
                    steps = steps + (step,)
                gx_p = gx + b * gx_b + n * gx_n + start * gx_t
                gdt_p = gdt + b * gdt_b + n * gdt_n + start * gdt_t
                gz_p = gz + b * gz_b + n * gz_n + start * gz_t
                gBC_p = (((b * T + start) * N + n) * blocks + block) * S
                for k in tl.static_range(STEPS - 1, -1, -1):
                    now = start + k < T
                    step = steps[k]
                    xt = xs[k].to(tl.float32)
                    dtt = dts[k].to(tl.float32)
                    zt = zs[k].to(tl.float32)
                    gt = gys[k].to(tl.float32)
                    Bt = Bs[k].to(tl.float32)
                    Ct = Cs[k].to(tl.float32)
                    sig = tl.sigmoid(zt)
                    read = tl.sum(states[k] * Ct[:, None], axis=0) + direct * xt
                    gzt = gt * read * sig * (1.0 + zt * (1.0 - sig))
                    tl.store(gz_p + (k * gz_t + e), gzt.to(gz.dtype.element_ty), mask=in_e & now)
                    gt = gt * zt * sig
                    gdirect += gt * xt
                    gCt = tl.sum(gt[None, :] * states[k], axis=1)
                    tl.store(gC + gBC_p + (k * gBC_t + s), gCt, mask=in_s & now)
                    g += gt[None, :] * Ct[:, None]
                    gBt = tl.sum(g * (step * xt)[None, :], axis=1)
                    tl.store(gB + gBC_p + (k * gBC_t + s), gBt, mask=in_s & now)
                    gwritten = tl.sum(g * Bt[:, None], axis=0)
                    g *= tl.exp2(step[None, :] * rate)
                    if reset is not None:
                        g = tl.where(tl.load(reset + b * T + start + k, mask=now, other=0) != 0, 0.0, g)
                    if k > 0:
                        exponent = g * states[k - 1]  # the gradient of the exponent Δ A
                    else:
                        exponent = g * tl.load(scratch + part * (SP * BE) + own)
                    grate += exponent * step[None, :]
                    gstep = tl.sum(exponent * rate, axis=0) * LN2 + gwritten * xt
                    if mask is not None:
                        gstep = gstep * tl.load(mask + b * T + start + k, mask=now, other=0).to(tl.float32)
                    gxt = gt * direct + gwritten * step
                    tl.store(gx_p + (k * gx_t + e), gxt.to(gx.dtype.element_ty), mask=in_e & now)
                    gdtt = gstep * tl.sigmoid(dtt)
                    tl.store(gdt_p + (k * gdt_t + e), gdtt.to(gdt.dtype.element_ty), mask=in_e & now)
            tl.debug_barrier()
        tl.store(gstate + row * E * S + tile, g, mask=inside)
        tl.store(gA + row * E * S + tile, grate, mask=inside)
        tl.store(gD + row * E + e, gdirect, mask=in_e)
