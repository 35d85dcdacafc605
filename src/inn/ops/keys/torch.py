"""Keys of contexts of all steps at once, of their histories laid out `[B, T, L]`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from inn.ops.keys.history import EMPTY, look_back, side_by_side
from inn.ops.keys.reference import COLUMN, LAST, MIX, STEP, WORD, WRAP, Spec, check, fold, key


def keys_torch(
    tokens: Tensor,
    recent: Tensor,
    specs: Sequence[Spec],
    letters: Tensor | None = None,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `keys_reference`; the results are the same."""
    check(specs, recent.shape[1], letters)
    every = look_back(*side_by_side(tokens, recent, reset, mask), recent.shape[1])  # [B, T + 1, L]
    recent_after = every[:, -1].clone()  # which does not keep the histories
    if not specs:
        none = tokens.new_empty(*tokens.shape, 0)
        return none, none.clone(), recent_after
    found = _keys(every, specs, letters)
    before, after = found[:, :-1], found[:, 1:]
    if reset is not None:
        nothing = [key([EMPTY] * recent.shape[1], spec, frozenset()) for spec in specs]
        before = torch.where(reset[..., None], torch.tensor(nothing, device=tokens.device), before)
    return before, after, recent_after


def signed(number: int) -> int:
    """A number modulo 2^64 as int64 has it."""
    return number - WRAP if number >= WRAP // 2 else number


def start(spec: Spec) -> int:
    """The hash that a context's numbers are folded into, as int64."""
    return signed(reduce(fold, spec, 0))


def _fold(h: Tensor, number: Tensor) -> Tensor:
    """`fold` of int64, which wraps; a shift to the right takes the sign along, so that has to go."""
    h = (h ^ (number + signed(1 + STEP) + (h << 6) + (h >> 2 & (1 << 62) - 1))) * signed(MIX)
    return h ^ (h >> 32 & (1 << 32) - 1)


def hashed(numbers: Tensor) -> Tensor:
    """Keys of contexts that are numbers of one's own, int64, however few of their bits differ."""
    return _fold(torch.zeros_like(numbers), numbers)


def _keys(history: Tensor, specs: Sequence[Spec], letters: Tensor | None) -> Tensor:
    """The keys `[..., K]` of all contexts of histories `[..., L]`, those of one kind together."""
    kinds = {kind: [k for k, spec in enumerate(specs) if spec[0] == kind] for kind, _, _ in specs}
    found = [_KINDS[kind](history, [specs[k] for k in places], letters) for kind, places in kinds.items()]
    order = [k for places in kinds.values() for k in places]
    joined = torch.cat(found, -1)
    return joined if order == sorted(order) else joined[..., [order.index(k) for k in range(len(specs))]]


def _starts(history: Tensor, specs: Sequence[Spec]) -> Tensor:
    return torch.tensor([start(spec) for spec in specs], device=history.device).expand(*history.shape[:-1], -1)


def _of_last(history: Tensor, specs: Sequence[Spec], letters: Tensor | None) -> Tensor:
    h = _starts(history, specs)
    skip, length = torch.tensor([spec[1:] for spec in specs], device=history.device).T
    for i in range(max(spec[2] for spec in specs)):
        at = (history.shape[-1] - 1 - i - skip).clamp(min=0)  # what is too far back is not folded in
        h = torch.where(i < length, _fold(h, history.index_select(-1, at)), h)
    return h


def _of_word(history: Tensor, specs: Sequence[Spec], letters: Tensor | None) -> Tensor:
    """What is folded in is found at once, `EMPTY` in the place of the symbol before a word; only hashing is a loop."""
    assert letters is not None  # as `check` has seen
    back = history.flip(-1)
    known = (back >= 0) & (back < len(letters))
    letter = known & letters[back.clamp(0, max(0, len(letters) - 1))] if len(letters) else known
    inside = torch.cat((torch.ones_like(letter[..., :1]), letter[..., :-1]), -1)
    begins = letter & ~inside
    words = torch.tensor([a for _, a, _ in specs], device=history.device)[:, None]
    counts = letter[..., None, :] & (begins.long().cumsum(-1)[..., None, :] <= words)  # [..., K, L]
    heads = begins[..., None, :] & counts
    taken = counts | torch.cat((heads[..., 1:], torch.zeros_like(heads[..., :1])), -1)
    number, h = torch.where(letter, back, EMPTY), _starts(history, specs)
    for i in range(history.shape[-1]):
        h = torch.where(taken[..., i], _fold(h, number[..., i : i + 1]), h)
    return h


def _of_column(history: Tensor, specs: Sequence[Spec], letters: Tensor | None) -> Tensor:
    length = history.shape[-1]
    place, found = torch.arange(length, device=history.device), []
    for spec in specs:
        newline = (history == spec[1]) & (history >= 0)
        last = _greatest(torch.where(newline, place, EMPTY))
        older = _greatest(torch.where(newline & (place < last[..., None]), place, EMPTY))
        column = torch.where(last >= 0, length - 1 - last, EMPTY)
        at = older + 1 + column
        above = torch.where((older >= 0) & (at <= last), _take(history, at), EMPTY)
        found.append(_fold(_fold(torch.full_like(last, start(spec)), column), above))
    return torch.stack(found, -1)


_KINDS = {LAST: _of_last, WORD: _of_word, COLUMN: _of_column}


def _greatest(places: Tensor) -> Tensor:
    """Over the last axis, `EMPTY` where that is empty."""
    return places.amax(-1) if places.shape[-1] else places.sum(-1) + EMPTY


def _take(history: Tensor, at: Tensor) -> Tensor:
    """`history[..., at]`, anything where that is outside."""
    length = history.shape[-1]
    return history.gather(-1, at.clamp(0, length - 1)[..., None])[..., 0] if length else at
