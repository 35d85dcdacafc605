"""Keys of contexts history by history: the bar that every backend is held to, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from inn.ops.keys.history import EMPTY
from inn.system.errors import InputError

LAST, WORD, COLUMN = 0, 1, 2
"""The kinds of contexts, the first number of a spec."""
MIX = 0xD6E8FEB86659FD93
STEP = 0x9E3779B97F4A7C15
WRAP = 2**64

Spec = tuple[int, int, int]


def keys_reference(
    tokens: Tensor,
    recent: Tensor,
    specs: Sequence[Spec],
    letters: Tensor | None = None,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Hash, at every step, K contexts of the last L symbols that a stream has read, before the step's symbol and after.

    A context is a list of numbers taken from those symbols; its key is a hash of its spec and that list. The kinds:

    - `(LAST, skip, length)`: the `length` symbols before the last `skip` ones, newest first.
    - `(WORD, words, 0)`: the letters since the last symbol that is none, newest first, which may be no letters at all;
      then of each of the `words` whole words before (0, 1 or 2) `EMPTY` and its letters, newest first. What stands
      between words does not count, however many symbols it is.
    - `(COLUMN, newline, 0)`: the number of symbols since the last `newline`, and the symbol of the line before that
      stands above the next one (its newline, if that line is just so long). Each is `EMPTY` where there is none. No
      symbol is a newline where `newline` is -1.

    What lies further back than L is not there: a `LAST` must fit, a word and a line end at that edge.

    Args:
        tokens: `[B, T]` int64.
        recent: `[B, L]` int64, the last symbols before the first step, oldest first, `EMPTY` before the first symbol.
        specs: K tuples of three numbers.
        letters: `[V]` bool, which symbols make words; others, and those of V and above, do not.
        reset: `[B, T]` bool, everything is forgotten before these steps.
        mask: `[B, T]` bool, steps where it is false are not read; both keys are then of what was read before.

    Returns:
        `before` and `after` `[B, T, K]` int64, the keys before and after each step's symbol; and `recent` `[B, L]`
        after the last step.

    Raises:
        InputError: for a spec of no known kind, one that does not fit into L symbols, and words without letters.

    >>> before, after, recent = keys_reference(torch.tensor([[7, 3, 7]]), torch.tensor([[-1, 3]]), [(LAST, 0, 1)])
    >>> (before[0, 0] == after[0, 1]).item(), (after[0, 0] == after[0, 2]).item(), recent.tolist()
    (True, True, [[3, 7]])
    """
    check(specs, recent.shape[1], letters)
    words = frozenset() if letters is None else frozenset(letters.nonzero().flatten().tolist())
    before = torch.empty(*tokens.shape, len(specs), dtype=torch.int64, device=tokens.device)
    after, last = torch.empty_like(before), recent.clone()
    for b in range(tokens.shape[0]):
        history = recent[b].tolist()
        for t in range(tokens.shape[1]):
            if reset is not None and reset[b, t]:
                history = [EMPTY] * len(history)
            before[b, t] = torch.tensor([key(history, spec, words) for spec in specs], dtype=torch.int64)
            if mask is None or mask[b, t]:
                history = [*history, int(tokens[b, t])][1:]
            after[b, t] = torch.tensor([key(history, spec, words) for spec in specs], dtype=torch.int64)
        last[b] = torch.tensor(history, dtype=torch.int64)
    return before, after, last


def key(history: Sequence[int], spec: Spec, letters: frozenset[int]) -> int:
    """The key of one context of a history, oldest first.

    >>> key([1, 2, 3], (LAST, 1, 2), frozenset()) == key([1, 2, 9], (LAST, 1, 2), frozenset())
    True
    """
    h = reduce(fold, (*spec, *context(history[::-1], spec, letters)), 0)
    return h - WRAP if h >= WRAP // 2 else h


def fold(h: int, number: int) -> int:
    """A hash `h` with one more number in it, both modulo 2^64."""
    h = (h ^ (number + 1 + STEP + (h << 6) + (h >> 2))) * MIX % WRAP
    return h ^ h >> 32


def context(back: Sequence[int], spec: Spec, letters: frozenset[int]) -> list[int]:
    """The numbers of a context, of a history that is told newest first."""
    kind, a, b = spec
    if kind == LAST:
        return list(back[a : a + b])
    found: list[int] = []
    if kind == WORD:
        inside = True  # of the word that goes on, or of one before it
        for symbol in back:
            if symbol in letters:
                if not inside:
                    if a == 0:
                        break
                    a, inside = a - 1, True
                    found.append(EMPTY)
                found.append(symbol)
            else:
                inside = False
        return found
    newlines = [i for i, symbol in enumerate(back) if symbol == a >= 0]
    column = newlines[0] if newlines else EMPTY
    above = EMPTY
    if len(newlines) > 1:
        place = newlines[1] - 1 - column  # the line before begins just after its own newline
        if place >= column:
            above = back[place]
    return [column, above]


def check(specs: Sequence[Spec], length: int, letters: Tensor | None) -> None:
    """Raise `InputError` for specs that cannot be asked of `length` symbols."""
    for kind, a, b in specs:
        if kind == LAST:
            if a < 0 or b < 0 or a + b > length:
                raise InputError(f"context (LAST, {a}, {b}) looks back on {a + b} symbols; keep 0 to {length}")
        elif kind == WORD:
            if a not in (0, 1, 2):
                raise InputError(f"context (WORD, {a}, {b}) asks for {a} words before; take 0, 1 or 2")
            if letters is None:
                raise InputError(f"context (WORD, {a}, {b}) needs to know which symbols make words; give letters")
        elif kind != COLUMN:
            raise InputError(f"context ({kind}, {a}, {b}) is of no known kind; take LAST (0), WORD (1) or COLUMN (2)")
