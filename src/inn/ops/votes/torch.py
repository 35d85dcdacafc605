"""Votes by PyTorch's own operations, all followers at once.

A GPU runs these, too: sums onto buckets and symbols are sorts there, which the gradient of an embedding already is, and
what they read comes from tables that no GPU kernel makes either.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.ops.votes.reference import COUNTS, LEVELS, STARTS, SURE, check


def votes_torch(found: Tensor, last: Tensor, table: Tensor, weights: Tensor, vocab: int) -> Tensor:
    """See `votes_reference`; the results are the same, but for the order of sums on a GPU."""
    check(found, last, table, weights=(weights, found.shape[:3]))
    kind = torch.promote_types(weights.dtype, torch.float32)
    none, symbols, said = _said(found, last, table.to(kind))
    votes = (weights.to(kind)[..., None] * said).masked_fill(none, 0.0)  # whatever the weight, NaN too
    total = votes.new_zeros(*found.shape[:2], vocab)
    return total.scatter_add(2, symbols.flatten(2), votes.flatten(2)).to(weights.dtype)


def expected_torch(found: Tensor, last: Tensor, table: Tensor, symbols: Tensor) -> Tensor:
    """See `expected_reference`; the results are the same."""
    check(found, last, table)
    kind = torch.promote_types(symbols.dtype, torch.float32)
    none, which, said = _said(found, last, table.to(kind))
    vectors = F.embedding(which, symbols.to(kind)).masked_fill(none[..., None], 0.0)
    return (said[..., None] * vectors).sum(3).to(symbols.dtype)


def buckets(found: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of followers `[..., F]`: where there is none, their symbols and buckets (both int64, 0 where there is none)."""
    levels, sure = (torch.tensor(t, device=found.device) for t in (LEVELS, SURE))
    none = found < 0
    entry = found.long().masked_fill(none, 0)
    symbols, counts = entry >> 8, entry & (COUNTS - 1)
    others = (counts.sum(-1, keepdim=True) - counts).clamp(max=COUNTS - 1)
    newest = symbols == (last >> 3)[..., None]
    level = levels[counts] * len(STARTS) + levels[others]
    return none, symbols, (level * 4 + newest * sure[last & 7][..., None]).masked_fill(none, 0)


def _said(found: Tensor, last: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where there is no follower, the followers' symbols, and the numbers of their buckets (0 where there is none)."""
    none, symbols, bucket = buckets(found, last)
    first = torch.arange(0, table.numel(), table.shape[1], device=table.device)[:, None]
    said = F.embedding(first + bucket, table.reshape(-1, 1))[..., 0]
    return none, symbols, said.masked_fill(none, 0.0)
