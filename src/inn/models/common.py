"""What the rivals share: the embedding, the head, and a look at the input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.population import Embedding, Linear, project, started
from inn.nn.symbols import AdaptiveHead, products

if TYPE_CHECKING:
    from inn.config.rivals import LSTMConfig, TransformerConfig


def symbol_embedding(vocab: int, width: int, std: float) -> Embedding:
    """An embedding `[vocab, width]` that starts at N(0, std)."""
    return started(Embedding(vocab, width), std)


class Head(nn.Module):
    """Logits of the symbols, `[..., width]` -> `[..., vocab]`.

    A tied head owns no weights and is handed the embedding's product (`tied_scores`) at every call, so a checkpoint
    holds each tensor once.
    Where the embedding is narrower than the model, a map (`bridge`) leads to it.

    >>> embedding = symbol_embedding(27, 8, std=0.02)
    >>> Head(27, 8, tied=True, bias=True)(torch.zeros(2, 3, 8), tied_scores(embedding)).shape
    torch.Size([2, 3, 27])
    """

    def __init__(self, vocab: int, width: int, *, tied: bool, bias: bool, embedding_width: int | None = None):
        super().__init__()
        self.bridge = Linear(width, embedding_width, bias=False) if tied and embedding_width else nn.Identity()
        self.weight = None if tied else nn.Parameter(torch.empty(vocab, width))
        self.bias = nn.Parameter(torch.empty(vocab)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        if self.weight is not None:
            self.weight.normal_().mul_(0.02)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor, scores: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
        x = self.bridge(x)
        return scores(x, self.bias) if self.weight is None else project(x, self.weight, self.bias)


def tied_scores(embedding: nn.Module) -> Callable[[Tensor, Tensor | None], Tensor]:
    """What a tied head scores by. A weight that is offloaded is there only inside the embedding's own `forward`."""
    return partial(_scores, embedding)


def _scores(embedding: nn.Module, x: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(embedding, Embedding):
        return embedding.forward(x, bias)
    return project(x, embedding.weight, bias)  # type: ignore[arg-type]


def symbol_head(config: LSTMConfig | TransformerConfig, *, bias: bool) -> Head | AdaptiveHead:
    """The head that a configuration asks for; `bias` is that of a linear one."""
    c = config
    if c.head == "adaptive":
        return AdaptiveHead(c.width, c.vocab, c.cuts(c.vocab))
    return Head(c.vocab, c.width, tied=c.tied, bias=bias, embedding_width=c.embedding_width)


def symbol_flops(embedding: nn.Embedding, widen: nn.Module, head: Head | AdaptiveHead) -> dict[str, float]:
    """FLOPs per symbol of the way in and the way out, by part."""
    tied = isinstance(head, Head) and head.weight is None
    parts = {"head": products(head) + (products(embedding) if tied else 0.0)}
    return {"embedding": products(widen), **parts} if isinstance(widen, Linear) else parts
