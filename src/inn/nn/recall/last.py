"""Last: each neuron knows what followed the last time, after contexts of a length of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from inn.config.models import INNConfig
from inn.nn.direct import home
from inn.nn.population import NeuronLinear
from inn.nn.recall.base import Found, Parts
from inn.nn.recall.options import LastOptions
from inn.nn.recall.tabled import Tabled
from inn.ops.lookup import EMPTY, RUNS, recall


class Last(Tabled):
    """The symbol that came next the last time, after the last k symbols, and how often in a row that was right.

    What a neuron finds is the symbol's vector times a gain, plus a shift, both by neuron and run length; nothing found
    has its own. The table costs no arithmetic. Kin: the match models of text compressors (Mahoney 2005, PAQ), neural
    caches (Grave et al. 2017, arXiv 1612.04426).

    State parts, integers: `table` `[B, N, M, slots]` and `recent` `[B, N, L]`, the last L symbols, oldest first; M is
    the number of context lengths per neuron.

    >>> last = Last(INNConfig(vocab=27, neurons=4, width=16, recall=[2, 3]))
    >>> taken, state, found = last(torch.zeros(1, 9).long(), None)
    >>> taken.shape, found["found"].shape
    (torch.Size([1, 9, 4, 16]), torch.Size([1, 9, 4, 1]))
    """

    Options = LastOptions
    no_decay = ("symbol", "gain", "shift")
    by_symbol = ("symbol",)
    joined = ("contexts", "width")

    def __init__(self, config: INNConfig):
        super().__init__(config)
        c, o, each = config, config.recall, self.each
        self.symbol = nn.Parameter(torch.empty(c.vocab, o.width))
        self.gain = nn.Parameter(torch.empty(c.neurons, each, RUNS + 1, o.width))
        self.shift = nn.Parameter(torch.empty(c.neurons, each, RUNS + 1, o.width))
        self.reset_parameters()
        self.into = NeuronLinear(c.neurons, each * o.width, c.width)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.symbol.normal_().mul_(self.std)
        self.gain.fill_(1.0)
        self.gain[:, :, RUNS] = 0.0  # where nothing is found there is no symbol
        self.shift.zero_()

    def initial_state(self, batch: int) -> Parts:
        def empty(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.full((batch, self.neurons, *shape), EMPTY, dtype=dtype, device=home(self, self.symbol))

        table = empty(self.each, self.slots, dtype=torch.int32)
        return {"table": table, "recent": empty(max(self.looks), dtype=torch.int64)}

    def look_up(
        self,
        tokens: Tensor,
        table: Tensor,
        recent: Tensor,
        reset: Tensor | None,
        mask: Tensor | None,
        remember: bool,
    ) -> tuple[Found, Tensor]:
        found = recall(tokens, table, recent, self.looks, reset, mask, remember, self.symbol.shape[1])
        return {"found": found}, recent

    def tell(self, found: Found) -> Tensor:
        entry = found["found"]  # [B, T, N, M]
        run = torch.where(entry == EMPTY, RUNS, entry % RUNS)
        symbol = self.symbol[(entry // RUNS).clamp(min=0, max=self.vocab - 1)]
        n = torch.arange(self.neurons, device=entry.device)[:, None]
        m = torch.arange(self.each, device=entry.device)
        return self.into((symbol * self.gain[n, m, run] + self.shift[n, m, run]).flatten(3))

    def proven(self, parts: Parts) -> Parts:
        right = (parts["table"] >= 0) & (parts["table"] % RUNS > 0)
        return {**parts, "table": parts["table"].where(right, EMPTY)}

    def flops(self) -> dict[str, float]:
        return {"recall": self.into.flops(self.neurons) + 2.0 * self.gain[:, :, 0].numel()}

    def beside(self, options: LastOptions, others: Sequence[Last]) -> LastOptions:
        """The vectors of symbols side by side, unless they are the same."""
        same = all(r.symbol.shape == self.symbol.shape and torch.equal(r.symbol, self.symbol) for r in others)
        return replace(options, width=self.symbol.shape[1] if same else sum(r.symbol.shape[1] for r in others))

    @torch.no_grad()
    def take_(self, parts: Sequence[tuple[Last | None, int]]) -> None:
        """Each neuron's own contexts and entries; what it had not before counts nothing, and has a gradient."""
        first = column = 0
        self.gain.zero_()
        self.shift.zero_()
        width = self.symbol.shape[1]
        for own, neurons in parts:
            end = first + neurons
            if own is not None:
                r = own.symbol.shape[1]
                at = slice(0, r) if width == r else slice(column, column + r)
                column += r
                self.symbol[:, at] = own.symbol
                self.gain[first:end, : own.each, :, at] = own.gain
                self.shift[first:end, : own.each, :, at] = own.shift
                into = self.into.weight.unflatten(2, (self.each, width))
                into[first:end, :, : own.each, at] = own.into.weight.unflatten(2, (own.each, r))
            first = end
