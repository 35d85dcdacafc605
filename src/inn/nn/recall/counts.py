"""Counts: each neuron knows what followed its contexts and how often, as compressors do."""

from __future__ import annotations

from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from inn.config.models import INNConfig
from inn.nn.direct import home
from inn.nn.population import NeuronLinear
from inn.nn.recall.base import Found, Parts
from inn.nn.recall.contexts import shown
from inn.nn.recall.options import CountsOptions
from inn.nn.recall.tabled import Tabled
from inn.nn.recall.votes import SURE, SURES, Votes, levels, sure
from inn.ops.counts import counts
from inn.ops.keys import EMPTY, hashed, histories, keys
from inn.ops.votes import BUCKETS, expected
from inn.system.errors import InputError


class Counts(Tabled):
    """The symbols that followed each context and how often, where `last` has only the one that came last.

    A neuron takes in the symbols' vectors, each times a learned number for its count, and how sure its contexts are.
    What was counted votes on the next symbol, too (`Votes`). Kin: PPM (Cleary & Witten 1984), PAQ (Mahoney 2005).

    State parts, integers: `table` `[B, N, M, slots, W]`, see `inn.ops.counts`, and `recent` `[B, N, L]`, the last L
    symbols, oldest first; M is the number of contexts per neuron.

    >>> recall = {"kind": "counts", "contexts": [1, 2], "slots": 64}
    >>> counts_of = Counts(INNConfig(vocab=27, neurons=2, width=16, recall=recall))
    >>> taken, state, found = counts_of(torch.zeros(1, 9).long(), None)
    >>> taken.shape, found["found"].shape  # of each context the followers that there is room for
    (torch.Size([1, 9, 2, 16]), torch.Size([1, 9, 2, 1, 30]))
    """

    Options = CountsOptions
    no_decay = ("symbol", "gain", "sure")
    by_symbol = ("symbol",)
    shares = True

    def __init__(self, config: INNConfig):
        super().__init__(config)
        c, o, each = config, config.recall, self.each
        self.length = max(one.reach for one in self.looks)
        self.letters = o.letters_of(c.vocab) if any(one.worded for one in self.looks) else None
        self.narrow = c.vocab <= 256  # two followers share a word
        self.words = 1 + (ceil(o.followers / 2) if self.narrow else o.followers)
        self.symbol = nn.Parameter(torch.empty(c.vocab, o.width))
        self.gain = nn.Parameter(torch.empty(c.neurons, each, BUCKETS))
        self.sure = nn.Parameter(torch.empty(c.neurons, each, SURES, SURE))
        self.reset_parameters()
        self.into = NeuronLinear(c.neurons, each * (o.width + SURE), c.width)

    @classmethod
    def voter(cls, config: INNConfig) -> Votes:
        return Votes(config)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        mine, others = levels(self.gain.device)
        self.symbol.normal_().mul_(self.std)
        self.gain.copy_((mine / (mine + others + 0.5)).expand_as(self.gain))  # its share of what followed
        self.sure.normal_().mul_(self.std)

    def initial_state(self, batch: int) -> Parts:
        device, shape = home(self, self.symbol), (batch, self.neurons)
        table = torch.zeros(*shape, self.each, self.slots, self.words, dtype=torch.int32, device=device)
        return {"table": table, "recent": torch.full((*shape, self.length), EMPTY, device=device)}

    def look_up(
        self,
        tokens: Tensor,
        table: Tensor,
        recent: Tensor,
        reset: Tensor | None,
        mask: Tensor | None,
        remember: bool,
    ) -> tuple[Found, Tensor]:
        before, after, recent = self._keys(tokens, recent, reset, mask)
        if table.shape[0] < tokens.shape[0]:  # of all streams: what they read is one sequence, step by step
            if reset is not None:
                raise InputError("a stream that shares its tables with others cannot be reset; leave reset out")
            mask = None if mask is None else _in_turn(mask)
            given = _in_turn(tokens), _in_turn(before), _in_turn(after)
            found, last = counts(*given, table, self.narrow, None, mask, remember)
            found, last = (t[0].unflatten(0, (-1, len(tokens))).transpose(0, 1) for t in (found, last))
        else:
            found, last = counts(tokens, before, after, table, self.narrow, reset, mask, remember)
        return {"found": found, "last": last, "sure": sure(found)}, recent

    def _keys(self, tokens: Tensor, recent: Tensor, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, ...]:
        """The keys of all contexts before and after each symbol, `[B, T, K]`, and the symbols read last."""
        letters = None
        if self.letters is not None:
            letters = torch.zeros(self.vocab, dtype=torch.bool, device=tokens.device)
            letters[torch.tensor(self.letters, device=tokens.device)] = True
        known = [one.spec for one in self.looks if one.spec is not None]
        before, after, now = keys(tokens, recent, known, letters, reset, mask)
        if len(known) == len(self.looks):
            return before, after, now
        seen = torch.cat((recent[:, None], histories(tokens, recent, reset, mask)), 1)  # [B, T + 1, L]
        columns = iter(zip(before.unbind(-1), after.unbind(-1)))
        pairs = [self._own(one, seen, reset) if one.spec is None else next(columns) for one in self.looks]
        return *(torch.stack(side, -1) for side in zip(*pairs)), now

    def _own(self, one: Any, seen: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor]:
        """The keys of a context of a kind without a spec, before and after each symbol."""
        found = hashed(one.keys(seen))
        before, after = found[:, :-1], found[:, 1:]
        if reset is not None:
            before = torch.where(reset, hashed(one.keys(torch.full_like(seen[:1, :1], EMPTY))), before)
        return before, after

    def tell(self, found: Found) -> Tensor:
        what, last = found["found"].flatten(2, 3), found["last"].flatten(2, 3)
        vectors = expected(what, last, self.gain.flatten(0, 1), self.symbol)  # [B, T, K, E]
        k = torch.arange(len(self.looks), device=what.device)
        how = self.sure.flatten(0, 1)[k, found["sure"].flatten(2, 3).clamp(0)].to(vectors.dtype)
        return self.into(torch.cat((vectors, how), -1).unflatten(2, (self.neurons, self.each)).flatten(3))

    def contexts(self, neuron: int) -> list[int | str]:
        return [shown(one) for one in super().contexts(neuron)]

    def flops(self) -> dict[str, float]:
        return {"recall": self.into.flops(self.neurons) + 2.0 * len(self.looks) * self.symbol.shape[1]}


def _in_turn(t: Tensor) -> Tensor:
    """What streams read `[B, T, ...]` as one stream reads it, `[1, T x B, ...]`: at each step one after the other."""
    return t.transpose(0, 1).flatten(0, 1)[None]
