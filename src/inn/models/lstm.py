"""A stack of LSTM layers (Hochreiter & Schmidhuber 1997), as PyTorch builds it."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.rivals import LSTMConfig
from inn.models.common import symbol_embedding, symbol_flops, symbol_head, tied_scores
from inn.models.sequence import SequenceModel
from inn.nn.direct import home
from inn.nn.state import State
from inn.nn.symbols import widening
from inn.ops.derivatives import readable, transformed


class LSTM(SequenceModel):
    """Embedding, LSTM layers of the same width, linear head with bias.

    The state holds `(layer, "h")` and `(layer, "c")`, each `[B, 1, width]` in the weights' dtype.

    >>> from inn.config.rivals import LSTMConfig
    >>> logits, state = LSTM(LSTMConfig(vocab=27, width=16))(torch.zeros(2, 5, dtype=torch.long))
    >>> logits.shape, state[1, "c"].shape
    (torch.Size([2, 5, 27]), torch.Size([2, 1, 16]))
    """

    def __init__(self, config: LSTMConfig):
        super().__init__(config)
        c = config
        self.embedding = symbol_embedding(c.vocab, c.embedding_width or c.width, c.embedding_std)
        self.widen = widening(c.embedding_width, c.width)
        # PyTorch warns about dropout "between layers" when there is only one.
        self.lstm = nn.LSTM(c.width, c.width, c.layers, batch_first=True, dropout=c.dropout if c.layers > 1 else 0.0)
        self.dropout = nn.Dropout(c.dropout)
        self.head = symbol_head(c, bias=True)

    def forward(
        self, tokens: Tensor, state: State | None = None, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """See `SequenceModel.forward`. A reset at a masked position still clears the state."""
        state = self.initial_state(tokens.shape[0]) if state is None else state
        h, c = (torch.stack([state[i, part][:, 0] for i in range(self.config.layers)]) for part in "hc")
        x = self.widen(self.embedding(tokens))
        outputs = []
        for start, end in segments(tokens.shape[1], reset, mask):
            if reset is not None:
                fresh = reset[:, start, None]
                h, c = h.masked_fill(fresh, 0), c.masked_fill(fresh, 0)
            run = by_layers if transformed() or torch.compiler.is_exporting() else nn.LSTM.__call__
            y, (new_h, new_c) = run(self.lstm, x[:, start:end], (h.contiguous(), c.contiguous()))
            new_h, new_c = new_h.to(h.dtype), new_c.to(c.dtype)  # autocast may have left them in bfloat16
            if mask is not None:
                live = mask[:, start, None]
                new_h, new_c = torch.where(live, new_h, h), torch.where(live, new_c, c)
            h, c = new_h, new_c
            outputs.append(y)
        parts = {(i, part): t[i][:, None] for part, t in (("h", h), ("c", c)) for i in range(self.config.layers)}
        return self.head(self.dropout(torch.cat(outputs, dim=1)), tied_scores(self.embedding)), State(parts)

    def initial_state(self, batch: int) -> State:
        """Zeros."""
        weight = self.embedding.weight
        zeros = torch.zeros(batch, 1, self.config.width, dtype=weight.dtype, device=home(self.embedding, weight))
        return State({(i, part): zeros.clone() for part in "hc" for i in range(self.config.layers)})

    def flops(self) -> dict[str, float]:
        """Matrix products of the four gates (from the input and from h), and of the head."""
        c = self.config
        return {"lstm": 2.0 * c.layers * 8 * c.width**2, **symbol_flops(self.embedding, self.widen, self.head)}


def by_layers(lstm: nn.LSTM, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """What `lstm` computes of `x` `[B, T, D]`, for transforms and for export.

    Its fused kernels have no forward mode, so there are formulas for that; and PyTorch exports it as so many steps as
    the example has, but for the kernel of one layer on a CPU.
    """
    kernel = not transformed() and x.is_cpu and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    last = []
    for i, (h, c) in enumerate(zip(*state, strict=True)):
        weights = lstm.all_weights[i]
        if kernel:
            begin = h[None], c[None], False, [], 2, lstm.hidden_size, 1, True, False, False, True
            y, h, c, _ = torch.ops.aten.mkldnn_rnn_layer(x.transpose(0, 1).contiguous(), *weights, *begin)
            x, h, c = y.transpose(0, 1), h[0], c[0]
        else:
            given, steps = F.linear(x, weights[0], weights[2]), []
            for t in range(x.shape[1]):
                enter, keep, new, out = (given[:, t] + F.linear(h, weights[1], weights[3])).chunk(4, -1)
                c = keep.sigmoid() * c + enter.sigmoid() * new.tanh()
                h = out.sigmoid() * c.tanh()
                steps.append(h)
            x = torch.stack(steps, 1)
        last.append((h, c))
        if i + 1 < lstm.num_layers:
            x = F.dropout(x, lstm.dropout, lstm.training)
    h, c = (torch.stack(parts) for parts in zip(*last, strict=True))
    return x, (h, c)


def segments(steps: int, reset: Tensor | None, mask: Tensor | None) -> list[tuple[int, int]]:
    """Cut `steps` positions where any row resets or any row's mask changes.

    Inside a segment nothing happens but the recurrence itself, so PyTorch's fused kernel can run it whole.

    >>> segments(6, torch.tensor([[False, False, True, False, False, False]]), None)
    [(0, 2), (2, 6)]
    """
    if reset is None and mask is None:
        return [(0, steps)]
    if not all(readable(t) for t in (reset, mask) if t is not None):
        return [(t, t + 1) for t in range(steps)]
    cuts = torch.zeros(steps, dtype=torch.bool)
    if reset is not None:
        cuts |= reset.any(0).cpu()
    if mask is not None:
        cuts[1:] |= (mask[:, 1:] != mask[:, :-1]).any(0).cpu()
    inner = [i for i in cuts.nonzero()[:, 0].tolist() if i > 0]
    edges = [0, *inner, steps]
    return list(pairwise(edges))
