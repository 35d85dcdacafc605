"""The scan in plain PyTorch: chunks of time, one fused step each, states recomputed in the backward pass.

Inside a chunk everything but the recurrence itself is done for all its steps at once, so that a step costs one
`addcmul`. Only the state at each chunk's start is kept for the backward pass: memory O(T / chunk), not O(T).
"""

from __future__ import annotations

from functools import wraps

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.ops.derivatives import again, beyond, transformed
from inn.ops.scan.reference import selective_scan_reference
from inn.ops.tensors import exact

# A chunk holds about this many numbers [K, B, N, E, S], so that it stays in the caches of a CPU core.
_CHUNK_NUMBERS = 1 << 19


def selective_scan_torch(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `selective_scan_reference` for shapes and types; the results are the same."""
    if transformed() or torch.compiler.is_exporting():  # a loop of PyTorch's own operations
        return selective_scan_reference(x, dt, A, B, C, D, z, state, reset, mask)
    return _Scan.apply(x, dt, A, B, C, D, z, state, reset, mask)


def _chunks(time: int, numbers_per_step: int) -> list[slice]:
    size = max(1, min(64, _CHUNK_NUMBERS // max(1, numbers_per_step)))
    return [slice(t, min(t + size, time)) for t in range(0, time, size)]


def _steps(dt: Tensor, mask: Tensor | None) -> Tensor:
    step = F.softplus(dt)
    return step if mask is None else step * mask[:, :, None, None]


def _decay(step: Tensor, A: Tensor, reset: Tensor | None) -> Tensor:
    """The factors exp(Δ A) of a chunk, `[K, B, N, E, S]`, zero where the state starts afresh."""
    decay = (step.transpose(0, 1)[..., None] * A).exp_()
    return decay if reset is None else decay.mul_((~reset).T[:, :, None, None, None])


def _states(decay: Tensor, step: Tensor, x: Tensor, B: Tensor, h: Tensor, reset: Tensor | None) -> Tensor:
    """The states of a chunk, `[K, B, N, E, S]`, from the state `h` before it."""
    h_all = (step * x).transpose(0, 1)[..., None] * B.transpose(0, 1)[..., None, :]
    for k in range(h_all.shape[0]):
        if reset is not None:  # a decay of zero forgets no NaN
            h = h.masked_fill(reset[:, k, None, None, None], 0)
        h = h_all[k].addcmul_(decay[k], h)
    return h_all


def _without_autocast(method):
    @wraps(method)
    def run(ctx, first, *args):
        with exact(first):
            return method(ctx, first, *args)

    return run


class _Scan(torch.autograd.Function):
    # Autocast is off inside: the recurrence runs in float32 whatever the type around it.
    @staticmethod
    @_without_autocast
    def forward(ctx, x, dt, A, B, C, D, z, state, reset, mask):
        kind = torch.promote_types(x.dtype, torch.float32)
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        given = (x, dt, A, B, C, D, z, state, reset, mask)
        A, D, h = A.to(kind), D.to(kind), state.to(kind)
        starts = []
        for c in _chunks(x.shape[1], h.numel()):
            starts.append(h)
            xc, step = x[:, c].to(kind), _steps(dt[:, c].to(kind), None if mask is None else mask[:, c])
            rc = None if reset is None else reset[:, c]
            decay = _decay(step, A, rc)
            h_all = _states(decay, step, xc, B[:, c].to(kind), h, rc)
            read = (h_all @ C[:, c].to(kind).transpose(0, 1)[..., None]).squeeze(-1).transpose(0, 1)
            y[:, c] = ((read + D * xc) * F.silu(z[:, c].to(kind))).to(x.dtype)
            h = h_all[-1].clone()  # a copy, so that the chunk's states can be freed
        ctx.save_for_backward(*given, *starts)
        return y, h

    @staticmethod
    @_without_autocast
    def backward(ctx, gy, gh):
        x, dt, A, B, C, D, z, state, reset, mask, *starts = ctx.saved_tensors
        if beyond(gy, gh):
            return again(selective_scan_reference, (x, dt, A, B, C, D, z, state, reset, mask), (gy, gh))
        kind = torch.promote_types(x.dtype, torch.float32)
        types = A.dtype, D.dtype
        A, D = A.to(kind), D.to(kind)
        gx, gdt, gz = (torch.empty_like(v) for v in (x, dt, z))
        gB, gC = torch.empty_like(B), torch.empty_like(C)
        gA = torch.zeros(x.shape[2], *A.shape[1:], dtype=kind, device=A.device)
        gD = torch.zeros(x.shape[2], *D.shape[1:], dtype=kind, device=A.device)
        carry = gh.to(kind)  # gradient of the state after the chunk at hand
        for c, start in reversed(list(zip(_chunks(x.shape[1], starts[0].numel()), starts, strict=True))):
            xc, zc, dtc = x[:, c].to(kind), z[:, c].to(kind), dt[:, c].to(kind)
            Bc, Cc = B[:, c].to(kind), C[:, c].to(kind)
            mc, rc = (None if t is None else t[:, c] for t in (mask, reset))
            step = _steps(dtc, mc)
            decay = _decay(step, A, rc)
            h_all = _states(decay, step, xc, Bc, start, rc)

            read = (h_all @ Cc.transpose(0, 1)[..., None]).squeeze(-1).transpose(0, 1)
            sig = torch.sigmoid(zc)
            gyc = gy[:, c].to(kind)
            gz[:, c] = (gyc * (read + D * xc) * sig * (1 + zc * (1 - sig))).to(z.dtype)
            gyc = gyc * zc * sig
            gD += (gyc * xc).sum((0, 1))

            gyt = gyc.transpose(0, 1)  # [K, B, N, E]
            gC[:, c] = (gyt[..., None, :] @ h_all).squeeze(-2).transpose(0, 1).to(C.dtype)
            g_all = gyt[..., None] * Cc.transpose(0, 1)[..., None, :]  # gradient of every state, readout first
            g_all[-1] += carry
            for k in range(g_all.shape[0] - 1, 0, -1):
                g_all[k - 1].addcmul_(decay[k], g_all[k])
            carry = decay[0] * g_all[0]

            written = (step * xc).transpose(0, 1)
            gB[:, c] = (written[..., None, :] @ g_all).squeeze(-2).transpose(0, 1).to(B.dtype)
            g_written = (g_all @ Bc.transpose(0, 1)[..., None]).squeeze(-1).transpose(0, 1)
            # decay becomes the gradient of the exponent Δ A: h_{t-1} · exp(Δ A) · ∂h_t
            decay.mul_(g_all)
            decay[1:].mul_(h_all[:-1])
            decay[0].mul_(start)
            if rc is not None:
                decay.masked_fill_(rc.T[:, :, None, None, None], 0)
            g_step = (decay * A).sum(-1).transpose(0, 1) + g_written * xc
            gA += (decay * step.transpose(0, 1)[..., None]).sum((0, 1))
            gx[:, c] = (gyc * D + g_written * step).to(x.dtype)
            if mc is not None:
                g_step = g_step * mc[:, :, None, None]
            gdt[:, c] = (g_step * torch.sigmoid(dtc)).to(dt.dtype)
        if A.shape[0] == 1:
            gA, gD = gA.sum(0, keepdim=True), gD.sum(0, keepdim=True)
        return gx, gdt, gA.to(types[0]), gB, gC, gD.to(types[1]), gz, carry.to(state.dtype), None, None
