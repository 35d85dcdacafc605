"""What a neuron prefers: the places of a text where it is loudest, found while the text goes by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.system.errors import InputError

TOP, APART = 5, 48
"""Contexts of each neuron; symbols that lie between two of them at least, and that are shown of each."""


@dataclass(frozen=True)
class Context:
    """One place where a neuron is loud.

    Attributes:
        activity: of the neuron there.
        at: the symbol's place in its text.
        symbols: those shown: half of `apart` before it, the symbol itself, half of `apart` after it; fewer at the ends.
        place: of the symbol among those shown.
    """

    activity: float
    at: int
    symbols: list[int]
    place: int


class Contexts:
    """The loudest places of each neuron, that do not overlap, of a text that comes piece by piece.

    A place counts where the neuron is louder than at the `apart` symbols before, and no quieter than at the `apart`
    after; the `top` loudest of these are kept. So what is found does not depend on how the text is cut, two places are
    more than `apart` from each other, and memory holds 2 x `apart` symbols beside what is kept. A neuron that is
    equally loud everywhere has a context wherever a row begins.

    >>> loud = torch.zeros(1, 200, 1)
    >>> loud[0, [50, 55, 120], 0] = torch.tensor([3.0, 2.0, 1.0])
    >>> contexts = Contexts(top=2, apart=20)
    >>> contexts.add(loud, torch.arange(200)[None], [0])
    >>> [(c.at, c.activity, c.symbols[c.place]) for c in contexts.found()[0]]
    [(50, 3.0, 50), (120, 1.0, 120)]
    """

    def __init__(self, top: int = TOP, apart: int = APART):
        """Raises `InputError` for fewer than one context and for `apart` below 2."""
        if top < 1:
            raise InputError(f"top must be at least 1, not {top}")
        if apart < 2:
            raise InputError(f"apart must be at least 2, not {apart}")
        self.top, self.apart = top, apart
        self._kept: list[list[Context]] = []
        self._tail: tuple[Tensor, Tensor, list[int], int] | None = None

    def add(self, activity: Tensor, tokens: Tensor, starts: list[int], *, goes_on: bool = False) -> None:
        """Take in activity `[B, T, N]` of symbols `[B, T]`, each row from place `starts[b]` of the text on.

        `goes_on`: the rows are those of the call before, continued.
        """
        old, edge = 0, 0
        if goes_on and self._tail is not None:
            before, read, starts, edge = self._tail
            old = before.shape[1]
            activity, tokens = torch.cat([before, activity], 1), torch.cat([read, tokens], 1)
        else:
            self.finish()
        if not self._kept:
            self._kept = [[] for _ in range(activity.shape[2])]
        # The last `apart` symbols cannot be told yet: what comes may be louder. Those before them have been told.
        T = activity.shape[1]
        told = edge if old else 0
        until = max(told, T - self.apart)
        self._take(activity, tokens, starts, told, until)
        keep = max(0, until - self.apart)
        self._tail = activity[:, keep:], tokens[:, keep:], [s + keep for s in starts], until - keep

    def finish(self) -> None:
        """Take in what waited for more; `found` does it too."""
        if self._tail is not None:
            activity, tokens, starts, told = self._tail
            self._take(activity, tokens, starts, told, activity.shape[1])
            self._tail = None

    def found(self) -> list[list[Context]]:
        """The contexts of each neuron, the loudest first; ends the text."""
        self.finish()
        return [list(kept) for kept in self._kept]

    def _take(self, activity: Tensor, tokens: Tensor, starts: list[int], told: int, until: int) -> None:
        if until <= told:
            return
        _, T, N = activity.shape
        half = self.apart // 2
        padded = F.pad(activity.double().transpose(1, 2), (self.apart, self.apart), value=-torch.inf)  # [B, N, T + 2a]
        widest = F.max_pool1d(padded, self.apart, stride=1)  # [B, N, T + a + 1]: the loudest of a symbols from i - a on
        now = activity.double().transpose(1, 2)
        peak = (now > widest[..., :T]) & (now >= widest[..., self.apart + 1 :])
        peak[..., :told] = peak[..., until:] = False
        for n in range(N):
            rows, places = peak[:, n].nonzero(as_tuple=True)
            values = now[rows, n, places]
            for i in values.argsort(descending=True, stable=True)[: self.top].tolist():
                b, t = int(rows[i]), int(places[i])
                first = max(0, t - half)
                shown = tokens[b, first : t + half + 1].tolist()
                self._kept[n].append(Context(float(values[i]), starts[b] + t, shown, t - first))
            self._kept[n] = sorted(self._kept[n], key=lambda c: (-c.activity, c.at))[: self.top]
