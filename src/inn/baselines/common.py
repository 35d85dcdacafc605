"""What the rivals share: the embedding, the head, and a look at the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inn.population import no_decay, project
from inn.state import State


def symbol_embedding(vocab: int, width: int, std: float) -> nn.Embedding:
    """An embedding `[vocab, width]` that starts at N(0, std); weight decay leaves it alone, as in `inn.INN`."""
    embedding = nn.Embedding(vocab, width)
    nn.init.normal_(embedding.weight, std=std)
    no_decay(embedding.weight)  # type: ignore[arg-type]
    return embedding


class Head(nn.Module):
    """Logits of the symbols, `[..., width]` -> `[..., vocab]`.

    A tied head owns no weights and is handed the embedding's at every call, so a checkpoint holds each tensor once.

    >>> embedding = symbol_embedding(27, 8, std=0.02)
    >>> Head(27, 8, tied=True, bias=True)(torch.zeros(2, 3, 8), embedding).shape
    torch.Size([2, 3, 27])
    """

    def __init__(self, vocab: int, width: int, *, tied: bool, bias: bool):
        super().__init__()
        self.weight = None if tied else nn.Parameter(torch.randn(vocab, width) * 0.02)
        self.bias = nn.Parameter(torch.zeros(vocab)) if bias else None

    def forward(self, x: Tensor, embedding: nn.Embedding) -> Tensor:
        weight = embedding.weight if self.weight is None else self.weight
        return project(x, weight, self.bias)


def check_input(tokens: Tensor, state: State | None) -> None:
    """Raise `ValueError` unless tokens are `[batch, time]`, both at least 1, and the state is of the same batch."""
    if tokens.ndim != 2 or 0 in tokens.shape:
        raise ValueError(f"tokens must be [batch, time] with batch, time >= 1, not {list(tokens.shape)}")
    if state is not None:
        state.check_batch(tokens.shape[0])
