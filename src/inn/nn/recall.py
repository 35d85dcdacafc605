"""Recall: each neuron knows what followed the last time, after contexts of a length of its own."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn

from inn.config.models import INNConfig
from inn.nn.direct import home, passed_by
from inn.nn.population import NeuronLinear
from inn.ops.derivatives import transformed
from inn.ops.lookup import EMPTY, RUNS, recall

Parts = dict[str, Tensor]
_CHUNK = 2**16
"""Symbols of a text that are read at once."""


@passed_by("forward")
class Recall(nn.Module):
    """A memory of the very symbols that a stream has read, beside the memories that blur them into a state.

    A neuron that recalls contexts of k symbols keeps a table: for the last k symbols, the one that came next the last
    time, and how often in a row that was right. What it finds is added to its input: the symbol's vector times a gain,
    plus a shift, both by neuron and run length; nothing found has its own. The table is state, not weights: it fills as
    the stream is read, costs no arithmetic, and takes the same room however long the stream. In training a stream now
    and then forgets it all, or the model would lean on tables that are full and be lost at the start of a text. Kin:
    the match models of text compressors (Mahoney 2005, PAQ), neural caches (Grave et al. 2017, arXiv 1612.04426).

    Attributes:
        drawn: random numbers in [0, 1) that decide which rows forget, one a row, drawn beforehand by whoever knows of
            more rows than this process has; used up by the rows that come next. None draws them here.

    State parts, integers: `table` `[B, N, M, slots]` and `recent` `[B, N, L]`, the last L symbols, oldest first; M is
    the number of context lengths per neuron.

    >>> found, state = Recall(INNConfig(vocab=27, neurons=4, width=16, recall=[2, 3]))(torch.zeros(1, 9).long(), None)
    >>> found.shape
    torch.Size([1, 9, 4, 16])
    """

    no_decay = ("symbol", "gain", "shift")
    drawn: Tensor | None = None

    def __init__(self, config: INNConfig):
        super().__init__()
        c, K = config, len(config.recall)
        each = ceil(K / c.neurons)
        self.neurons, self.each, self.slots, self.vocab = c.neurons, each, c.recall_slots, c.vocab
        self.forget = c.recall_forget
        # Neuron n has lengths n, n + N, ... of the list, which starts again at its end.
        self.orders = [c.recall[(n + j * c.neurons) % K] for n in range(c.neurons) for j in range(each)]
        self.std = c.embedding_std
        self.symbol = nn.Parameter(torch.empty(c.vocab, c.recall_width))
        self.gain = nn.Parameter(torch.empty(c.neurons, each, RUNS + 1, c.recall_width))
        self.shift = nn.Parameter(torch.empty(c.neurons, each, RUNS + 1, c.recall_width))
        self.reset_parameters()
        self.into = NeuronLinear(c.neurons, each * c.recall_width, c.width)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.symbol.normal_().mul_(self.std)
        self.gain.fill_(1.0)
        self.gain[:, :, RUNS] = 0.0  # where nothing is found there is no symbol
        self.shift.zero_()

    def initial_state(self, batch: int) -> Parts:
        """Nothing read, nothing known."""

        def empty(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.full((batch, self.neurons, *shape), EMPTY, dtype=dtype, device=home(self, self.symbol))

        table = empty(self.each, self.slots, dtype=torch.int32)
        return {"table": table, "recent": empty(max(self.orders), dtype=torch.int64)}

    @torch.no_grad()
    def after_reading(self, symbols: Tensor) -> Parts:
        """What one stream can recall after a text, on the CPU: the tables of `symbols` `[n]`, and no last symbols."""
        state = {name: t.cpu() for name, t in self.initial_state(1).items()}
        recent, table = state["recent"][:, 0].clone(), state["table"].flatten(1, 2)
        for part in symbols.cpu().long().split(_CHUNK):
            recall(part[None], table, recent, self.orders, None, None, True)
        return {**state, "table": table.view_as(state["table"])}

    def forward(
        self,
        tokens: Tensor,
        state: Parts | None,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        remember: bool = True,
    ) -> tuple[Tensor, Parts]:
        """Read `tokens` `[B, T]`; return what each neuron finds, `[B, T, N, D]`, and the new state.

        Without `remember` what is read is not kept in the tables.
        """
        state = self.initial_state(tokens.shape[0]) if state is None else {name: t.clone() for name, t in state.items()}
        if transformed():  # under `vmap` tables that change have to be as many as the texts that change them
            given = [t for t in (tokens, reset, mask) if t is not None]
            none = sum((t[:, :1].long() * 0 for t in given), torch.zeros(1, 1, dtype=torch.long, device=tokens.device))
            state = {name: t + none.view(-1, *[1] * (t.ndim - 1)).to(t.dtype) for name, t in state.items()}
        if self.training and self.forget:
            forgets = self._chances(tokens.shape[0], tokens.device) < self.forget
            reset = torch.zeros_like(tokens, dtype=torch.bool) if reset is None else reset.clone()
            reset[:, 0] |= forgets
        return self.read_(tokens, state, reset, mask, remember), state

    def _chances(self, rows: int, device: torch.device) -> Tensor:
        if self.drawn is None or len(self.drawn) < rows:
            return torch.rand(rows, device=device)
        chances, self.drawn = self.drawn[:rows], self.drawn[rows:]
        return chances

    def read_(
        self,
        tokens: Tensor,
        state: Parts,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        remember: bool = True,
    ) -> Tensor:
        """`forward` that changes the state in place."""
        recent = state["recent"][:, 0].clone()  # the same for all neurons
        table = state["table"].flatten(1, 2)
        found = recall(tokens.long(), table, recent, self.orders, reset, mask, remember, self.symbol.shape[1])
        state["recent"].copy_(recent[:, None])
        if not state["table"].is_contiguous():  # then `flatten` may have made a copy
            state["table"].copy_(table.view_as(state["table"]))
        found = found.unflatten(2, (self.neurons, self.each))  # [B, T, N, M]
        run = torch.where(found == EMPTY, RUNS, found % RUNS)
        symbol = self.symbol[(found // RUNS).clamp(min=0, max=self.vocab - 1)]
        n = torch.arange(self.neurons, device=tokens.device)[:, None]
        m = torch.arange(self.each, device=tokens.device)
        return self.into((symbol * self.gain[n, m, run] + self.shift[n, m, run]).flatten(3))

    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol, by part; looking up is counted as free."""
        return {"recall": self.into.flops(self.neurons) + 2.0 * self.gain[:, :, 0].numel()}
