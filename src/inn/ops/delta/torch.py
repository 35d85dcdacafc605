"""The delta rule in plain PyTorch, a chunk of time at once: matrix products and one triangular system per chunk.

Within a chunk, with c_t the sum of the log decays so far, S_t = e^{c_t} S_0 + Σ_{j≤t} e^{c_t - c_j} u_j k_jᵀ, where the
written u solve a unit triangular system (Yang et al. 2024, arXiv 2406.06484 and 2412.06464):

    u_t + β_t Σ_{j<t} e^{c_t - c_j} (k_t·k_j) u_j = β_t (v_t - e^{c_t} S_0 k_t)

Only the states between chunks are a loop, everything else is computed for all chunks together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.ops.tensors import exact

_CHUNK = 32


def delta_scan_torch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor | None,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `delta_scan_reference` for shapes and types; the results are the same."""
    with exact(v):
        return _run(q, k, v, decay, beta, state, reset, mask)


def _run(q, k, v, decay, beta, state, reset, mask):
    kind, time = torch.promote_types(v.dtype, torch.float32), v.shape[1]
    keys, values = state.shape[3:]
    size = min(_CHUNK, time)
    pad = -time % size

    def chunks(t: Tensor, width: int, fill: float = 0.0) -> Tensor:
        """A stream as `[B, N, G, chunks, C, width]`; steps that do not count, and those beyond the end, are `fill`."""
        t = t.to(kind).unflatten(-1, (-1, width))
        if mask is not None:
            counts = mask.view(*mask.shape, *(1,) * (5 - mask.ndim))
            t = torch.where(counts, t, fill)
        t = F.pad(t, (0, 0, 0, 0, 0, 0, 0, pad), value=fill)
        return t.unflatten(1, (-1, size)).permute(0, 3, 4, 1, 2, 5)

    Q, K, U, g = chunks(q, keys), chunks(k, keys), chunks(v, values), chunks(decay, 1)
    if reset is not None:  # what was before a reset is of another stretch, and is not seen from this one
        fresh = F.pad(reset, (0, pad)).unflatten(1, (-1, size))[:, None, None]
        stretch = fresh.long().cumsum(-1)
        g = g.masked_fill(fresh[..., None], 0.0)
    c = g.cumsum(-2)  # [B, N, H, chunks, C, 1]
    later = torch.ones(size, size, dtype=torch.bool, device=v.device).tril()
    if reset is not None:
        later = later & (stretch[..., :, None] == stretch[..., None, :])
    between = torch.where(later, c - c.mT, -torch.inf).exp()
    since, until = c.exp(), (c[..., -1:, :] - c).exp()
    whole = since[..., -1:, :]
    if reset is not None:
        since = since * stretch.eq(0)[..., None]
        until = until * stretch.eq(stretch[..., -1:])[..., None]
        whole = since[..., -1:, :]
    read = (Q @ K.mT) * between
    from_before = K * since
    if beta is None:
        W = None
    else:
        b = chunks(beta, 1)
        system = (b * (K @ K.mT) * between).tril(-1)
        solved = torch.linalg.solve_triangular(
            system,
            torch.cat((b * U, (b * from_before).expand(*U.shape[:-1], keys)), -1),
            upper=False,
            unitriangular=True,
        )
        U, W = solved.split((values, keys), -1)
    Q, K = Q * since, K * until
    S, found = state.to(kind), []
    for i in range(g.shape[3]):
        if reset is not None:  # a NaN is forgotten, too
            S = S.masked_fill(fresh[..., i, 0, None, None], 0.0)
        written = U[:, :, :, i] if W is None else U[:, :, :, i] - W[:, :, :, i] @ S
        found.append(Q[:, :, :, i] @ S + read[:, :, :, i] @ written)
        kept = S if reset is None else S.masked_fill((stretch[..., i, -1] > 0)[..., None, None], 0.0)
        S = whole[:, :, :, i] * kept + K[:, :, :, i].mT @ written
    y = torch.stack(found, 3).permute(0, 3, 4, 1, 2, 5).flatten(1, 2)[:, :time].flatten(-2)
    return y.to(v.dtype), S
