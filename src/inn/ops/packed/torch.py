"""Packed steps filled up to the row that has most, and run by the ops that know no rows of their own length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.ops.derivatives import again
from inn.ops.scan.torch import selective_scan_torch

_ALIKE = 8  # numbers of neurons that meet at a step, which others are filled up to
_NO_STEP = -1e4  # softplus of it is zero: the state decays by nothing and takes in nothing


def packed_scan_torch(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, state: Tensor, first: Tensor
) -> tuple[Tensor, Tensor]:
    """See `packed_scan_reference` for shapes and types; the results are the same."""
    places, longest = _places(state, first)
    x, B, C, z = (_filled(t, places, longest, state) for t in (x, B, C, z))
    dt = _filled(dt, places, longest, state, _NO_STEP)
    y, last = selective_scan_torch(x, dt, A, B, C, D, z, state)
    return _listed(y, places), last


def packed_conv_torch(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """See `packed_conv_reference` for shapes and types; the results are the same."""
    places, longest = _places(state, first)
    batch, neurons, before = state.shape[:3]
    padded = torch.cat((state.to(x.dtype).transpose(1, 2), _filled(x, places, longest, state)), 1)
    y = bias.to(x.dtype)
    for k in range(before + 1):
        y = torch.addcmul(y, padded[:, k : k + longest], weight[..., k].to(x.dtype))
    lengths = first.diff().view(neurons, batch).t()  # of what stands before a row's end there are always enough
    where = lengths[:, None] + torch.arange(before, device=x.device)[:, None]  # [B, K-1, N]
    kept = padded.gather(1, where[..., None].expand(-1, -1, -1, x.shape[1]))
    return _listed(F.silu(y), places), kept.transpose(1, 2).to(state.dtype)


def packed_attention_torch(
    q: Tensor, k: Tensor, v: Tensor, order: Tensor, first: Tensor, dropout: float = 0.0
) -> Tensor:
    """See `packed_attention_reference` for shapes and types; the results are the same.

    Steps at which about as many meet are computed together, filled up to the one with most.
    """
    counts, heads = first.diff(), q.shape[1]
    rows, told, placed = torch.cat((q * q.shape[-1] ** -0.5, k, v), 1), [], []
    alike = counts.argsort(stable=True)
    for part in alike.tensor_split(min(_ALIKE, max(1, len(alike) // 64))) if len(alike) else ():
        many = torch.arange(int(counts[part[-1]]), device=order.device)
        there = many < counts[part][:, None]  # [S, M]
        places = order[(first[part][:, None] + many).clamp_max(len(order) - 1)]
        met = rows.index_select(0, places.flatten()).unflatten(0, places.shape).transpose(1, 2)  # [S, 3 H, M, d]
        own, keys, values = met.split(heads, 1)
        weights = (own @ keys.transpose(-1, -2)).masked_fill(~there[:, None, None], -torch.inf).softmax(-1)
        weights = F.dropout(weights, dropout) if dropout else weights
        told.append((weights @ values).transpose(1, 2)[there])
        placed.append(places[there])
    return torch.zeros_like(v).index_copy(0, torch.cat(placed), torch.cat(told)) if told else v.clone()


def again_scan(given: tuple[Tensor, ...], gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """`again` for what `packed_scan_torch` is given."""
    return again(packed_scan_torch, given, gradients)


def again_attention(given: tuple[Tensor, ...], heads: int, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """`again` for q, k, v `[R, H x d]`, order and first."""

    def run(q: Tensor, k: Tensor, v: Tensor, order: Tensor, first: Tensor) -> Tensor:
        q, k, v = (t.unflatten(1, (heads, -1)) for t in (q, k, v))
        return packed_attention_torch(q, k, v, order, first).flatten(1)

    return again(run, given, (gradient,))


def again_conv(given: tuple[Tensor, ...], gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """`again` for what `packed_conv_torch` is given."""
    return again(packed_conv_torch, given, gradients)


def _places(state: Tensor, first: Tensor) -> tuple[Tensor, int]:
    """The places of the R steps in `[N, B, T']`, and T', the steps of the row that has most."""
    lengths = first.diff()
    longest = max(1, int(lengths.max()))
    shift = torch.arange(len(lengths), device=first.device) * longest - first[:-1]
    return torch.arange(int(first[-1]), device=first.device) + shift.repeat_interleave(lengths), longest


def _filled(t: Tensor, places: Tensor, longest: int, state: Tensor, value: float = 0.0) -> Tensor:
    """Steps `[R, E]` as `[B, T', N, E]`, a value where there is none."""
    batch, neurons = state.shape[:2]
    rows = t.new_full((neurons * batch * longest, t.shape[1]), value).index_copy(0, places, t)
    return rows.view(neurons, batch, longest, t.shape[1]).permute(1, 2, 0, 3)


def _listed(y: Tensor, places: Tensor) -> Tensor:
    """The steps `[R, E]` of `[B, T', N, E]`."""
    return y.permute(2, 0, 1, 3).reshape(-1, y.shape[3]).index_select(0, places)
