"""Votes follower by follower: the bar that every backend is held to."""

from __future__ import annotations

from bisect import bisect_right

import torch
from torch import Tensor

from inn.system.errors import InputError

STARTS = (0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 24, 36, 60, 100, 180)
"""The smallest whole number of each level: small ones are told apart, large ones by steps of about one half more."""
COUNTS = 256
"""A count has 8 bits. A sum of counts may be larger; all from 180 on are of one level."""
LEVELS = tuple(bisect_right(STARTS, n) - 1 for n in range(COUNTS))
"""The level of each count."""
SURE = (1, 2, 2, 3, 3, 3, 3, 3)
"""How sure the last symbol is, by its run; 0 is any other symbol."""
BUCKETS = len(STARTS) ** 2 * 4
"""What is told apart of a follower: its count, the others' sum, and whether it was the last and for how long."""


def bucket(count: int, others: int, run: int | None) -> int:
    """The bucket of a follower, below `BUCKETS`; `run` is None where it is not the last symbol of its slot.

    >>> bucket(1, 0, None), bucket(200, 4000, 7) == BUCKETS - 1
    (64, True)
    """
    sure = 0 if run is None else SURE[run]
    return (LEVELS[count] * len(STARTS) + LEVELS[min(others, COUNTS - 1)]) * 4 + sure


def votes_reference(found: Tensor, last: Tensor, table: Tensor, weights: Tensor, vocab: int) -> Tensor:
    """Add up what followers say for their symbols: weight of the context x number of the follower's bucket.

    How much a count is worth is learned, as in adaptive state maps (Mahoney 2005, *Adaptive weighing of context models
    for lossless data compression*), and does not depend on which symbol it is.

    Args:
        found: `[B, T, K, F]` int32, the followers of K contexts, symbol x 256 + count; what is below 0 is none and adds
            nothing, whatever the weight.
        last: `[B, T, K]` int32, the symbol that followed last, symbol x 8 + run; below 0 where there is none.
        table: `[K, BUCKETS]`, a number for each bucket of each context.
        weights: `[B, T, K]`.
        vocab: how many symbols there are.

    Returns:
        `[B, T, vocab]` in the type of `weights`, summed in float32 at least.

    Raises:
        InputError: shapes that do not belong together.

    >>> found = torch.tensor([[[[1 << 8 | 4, 2 << 8 | 1, -1]]]])  # 1 came four times, 2 once
    >>> table = torch.zeros(1, BUCKETS)
    >>> table[0, bucket(4, 1, None)], table[0, bucket(1, 4, 0)] = 3.0, 1.0
    >>> votes_reference(found, torch.tensor([[[2 << 3]]]), table, torch.full((1, 1, 1), 2.0), 4)
    tensor([[[0., 6., 2., 0.]]])
    """
    check(found, last, table, weights=(weights, found.shape[:3]))
    kind = torch.promote_types(weights.dtype, torch.float32)
    table, wide = table.to(kind), weights.to(kind)
    rows = []
    for b, t in _steps(found):
        row = [table.new_zeros(())] * vocab
        for k in range(found.shape[2]):
            for symbol, q in followers(found[b, t, k], last[b, t, k]):
                row[symbol] = row[symbol] + wide[b, t, k] * table[k, q]
        rows.append(torch.stack(row))
    return _stack(rows, table, (*found.shape[:2], vocab)).to(weights.dtype)


def expected_reference(found: Tensor, last: Tensor, table: Tensor, symbols: Tensor) -> Tensor:
    """Add up the vectors of a context's followers, each times the number of its bucket.

    Args:
        found: `[B, T, K, F]` int32, as in `votes_reference`.
        last: `[B, T, K]` int32, likewise.
        table: `[K, BUCKETS]`.
        symbols: `[V, E]`, a vector for each symbol.

    Returns:
        `[B, T, K, E]` in the type of `symbols`, summed in float32 at least.

    Raises:
        InputError: shapes that do not belong together.

    >>> found, last = torch.tensor([[[[1 << 8 | 4, -1]]]]), torch.tensor([[[1 << 3]]])
    >>> expected_reference(found, last, torch.full((1, BUCKETS), 0.5), torch.eye(3))
    tensor([[[[0.0000, 0.5000, 0.0000]]]])
    """
    check(found, last, table)
    kind = torch.promote_types(symbols.dtype, torch.float32)
    table, wide = table.to(kind), symbols.to(kind)
    rows = []
    for b, t in _steps(found):
        for k in range(found.shape[2]):
            total = wide.new_zeros(wide.shape[1])
            for symbol, q in followers(found[b, t, k], last[b, t, k]):
                total = total + table[k, q] * wide[symbol]
            rows.append(total)
    return _stack(rows, table, (*found.shape[:3], wide.shape[1])).to(symbols.dtype)


def followers(found: Tensor, last: Tensor) -> list[tuple[int, int]]:
    """Symbol and bucket of each follower in a slot, `found` `[F]` with `last` `[]`."""
    known = [(entry >> 8, entry & (COUNTS - 1)) for entry in found.tolist() if entry >= 0]
    newest, run = int(last) >> 3, int(last) & 7
    total = sum(count for _, count in known)
    return [(s, bucket(count, total - count, run if s == newest else None)) for s, count in known]


def check(found: Tensor, last: Tensor, table: Tensor, **others: tuple[Tensor, torch.Size]) -> None:
    """Raise `InputError` for shapes that do not belong together; `others` are tensors with the shape wanted of them."""
    if found.ndim != 4:
        raise InputError(f"found should be [B, T, K, F], not {list(found.shape)}")
    wanted = {"last": (last, found.shape[:3]), "table": (table, torch.Size((found.shape[2], BUCKETS))), **others}
    for name, (t, shape) in wanted.items():
        if t.shape != shape:
            raise InputError(f"{name} should be {list(shape)}, not {list(t.shape)}")


def _steps(found: Tensor) -> list[tuple[int, int]]:
    return [(b, t) for b in range(found.shape[0]) for t in range(found.shape[1])]


def _stack(rows: list[Tensor], table: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.stack(rows).reshape(shape) if rows else table.new_zeros(shape)
