"""The Intelligent Neural Network: embedding, graph of neurons, head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from inn.config import INNConfig, model_config
from inn.graph import Graph
from inn.population import Linear, no_decay
from inn.routing import Edges
from inn.sequence import SequenceModel
from inn.state import State
from inn.symbols import AdaptiveHead, products, widening


class INN(SequenceModel):
    """A language model that is a graph of neurons (arXiv 2511.22813, section 2).

    Args:
        config: an `INNConfig`; or give its fields by name, over a `preset` (`distinct`, `paper`, `paper-fixed`).

    Raises:
        InputError: for an unknown field or a value that does not fit.

    >>> import torch
    >>> model = INN(vocab=256, neurons=8, width=64, rounds=4)
    >>> logits, state = model(torch.randint(256, (2, 10)))
    >>> logits.shape
    torch.Size([2, 10, 256])
    """

    config: INNConfig

    def __init__(self, config: INNConfig | None = None, *, preset: str | None = None, **fields: Any):
        super().__init__(config or model_config("inn", preset, **fields))
        c = self.config
        embedded = c.embedding_width or c.input_width
        self.embedding = nn.Embedding(c.vocab, embedded)
        self.widen = widening(c.embedding_width, c.input_width)
        self.graph = Graph(c)
        self.norm = nn.LayerNorm(c.readout_width)
        # A tied head needs the embedding's width; where the readout has another one, a bridge leads to it.
        bridged = c.tied and (c.embedding_width is not None or c.readout_width != c.input_width)
        self.bridge = Linear(c.readout_width, embedded, bias=False) if bridged else nn.Identity()
        if c.head == "adaptive":
            self.head = AdaptiveHead(c.readout_width, c.vocab, c.cuts(c.vocab))
        else:
            self.head = Linear(embedded if c.tied else c.readout_width, c.vocab)
        self.dropout = nn.Dropout(c.dropout) if c.dropout else nn.Identity()
        nn.init.normal_(self.embedding.weight, std=c.embedding_std)
        if isinstance(self.head, Linear):
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)
        if c.tied:
            self.head.weight = self.embedding.weight
        no_decay(self.embedding.weight)  # type: ignore[arg-type]

    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        edges: Edges | None = None,
    ) -> tuple[Tensor, State]:
        """Predict the next symbol: `[B, T]` -> logits `[B, T, vocab]` and the state; see `SequenceModel.forward`.

        `edges` says which edges the routers may use; None is the complete graph.
        """
        if tokens.ndim != 2:
            raise ValueError(f"tokens must be [batch, time], not {list(tokens.shape)}")
        x, after = self.graph(self._read(tokens), state, edges=edges, reset=reset, mask=mask)
        return self._write(x), after

    def _read(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.widen(self.embedding(tokens)))

    def _write(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.bridge(self.norm(x))))

    def step_(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict after one symbol per stream, without a gradient: `[B]` -> logits `[B, vocab]`.

        The state is changed in place and returned; while a tape records, a new one is made as ever.
        """
        if self.graph.tape is not None:
            return self.step(tokens, state)
        state = self.initial_state(tokens.shape[0]) if state is None else state
        with torch.inference_mode():
            logits = self._write(self.graph.step_(self._read(tokens[:, None]), state))[:, 0]
        return logits.clone(), state  # the copy is an ordinary tensor

    def initial_state(self, batch: int) -> State:
        return self.graph.initial_state(batch)

    @property
    def penalty(self) -> Tensor | float:
        return self.graph.penalty

    def flops(self) -> dict[str, float]:
        parts = self.graph.flops()
        if isinstance(self.widen, Linear):
            parts["embedding"] = products(self.widen)
        parts["head"] = products(self.bridge, self.head)
        return parts
