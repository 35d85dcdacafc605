"""A stack of LSTM layers (Hochreiter & Schmidhuber 1997) or GRU layers (Cho et al. 2014), as PyTorch builds them."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from inn.config.rivals import LSTMConfig
from inn.models.common import symbol_embedding, symbol_flops, symbol_head, tied_scores
from inn.models.recurrent import first_state, products, read, recurrent
from inn.models.sequence import SequenceModel
from inn.nn.direct import home
from inn.nn.state import State
from inn.nn.symbols import widening


class LSTM(SequenceModel):
    """Embedding, LSTM layers of the same width, linear head with bias.

    The state holds `(layer, "h")` and `(layer, "c")`, each `[B, 1, width]` in the weights' dtype.

    >>> import torch
    >>> from inn.config.rivals import LSTMConfig
    >>> logits, state = LSTM(LSTMConfig(vocab=27, width=16))(torch.zeros(2, 5, dtype=torch.long))
    >>> logits.shape, state[1, "c"].shape
    (torch.Size([2, 5, 27]), torch.Size([2, 1, 16]))
    """

    name: ClassVar[str] = "lstm"

    def __init__(self, config: LSTMConfig):
        super().__init__(config)
        c = config
        self.embedding = symbol_embedding(c.vocab, c.embedding_width or c.width, c.embedding_std)
        self.widen = widening(c.embedding_width, c.width)
        self.add_module(self.name, recurrent(self.name, c.width, c.layers, c.dropout))
        self.dropout = nn.Dropout(c.dropout)
        self.head = symbol_head(c, bias=True)

    @property
    def layers(self) -> nn.RNNBase:
        """PyTorch's layers, which are the child of the kind's name."""
        return getattr(self, self.name)

    def forward(
        self, tokens: Tensor, state: State | None = None, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """See `SequenceModel.forward`. A reset at a masked position still clears the state."""
        state = self.initial_state(tokens.shape[0]) if state is None else state
        y, after = read(self.layers, self.widen(self.embedding(tokens)), state, reset, mask)
        return self.head(self.dropout(y), tied_scores(self.embedding)), after

    def initial_state(self, batch: int) -> State:
        """Zeros."""
        c, weight = self.config, self.embedding.weight
        return first_state(self.name, c.layers, batch, c.width, weight.dtype, home(self.embedding, weight))

    def flops(self) -> dict[str, float]:
        """Matrix products of the gates (from the input and from h), and of the head."""
        c = self.config
        own = {self.name: products(self.name, c.layers, c.width)}
        return {**own, **symbol_flops(self.embedding, self.widen, self.head)}


class GRU(LSTM):
    """The same with GRU layers; the state holds `(layer, "h")`. It is exported for as many steps as the example has."""

    name = "gru"
