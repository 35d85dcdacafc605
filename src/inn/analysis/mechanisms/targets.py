"""Targets: what a part of a model may tell by itself, as chances of the next symbol; `bigram` is a table of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inn.system.errors import InputError

CONTEXTS = 100
"""Symbols that a text needs, at least."""


@dataclass(frozen=True)
class Target:
    """Chances of the next symbol that a part of a model is to tell, and a text to ask for them on.

    Attributes:
        name: what it is called where results are shown.
        symbols: `[n]` int64, the text.
        vocab: how many symbols there are.
        chances: tokens `[B, T]` -> `[B, T, vocab]` float32, which sum to 1 at each step: the last symbol
            read is `tokens[:, t]`. Any function of what was read will do.

    Raises `InputError` for a text of fewer than 100 contexts, and for symbols that are not in the vocabulary.

    >>> text = torch.arange(200) % 2
    >>> again = Target("the same again", text, 2, lambda tokens: torch.nn.functional.one_hot(tokens, 2).float())
    >>> again.chances(text[None, :3]).tolist()
    [[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]]
    """

    name: str
    symbols: Tensor
    vocab: int
    chances: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        if len(self.symbols) <= CONTEXTS:
            raise InputError(
                f"a text of {len(self.symbols)} symbols has too few contexts; give more than {CONTEXTS} symbols"
            )
        if int(self.symbols.min()) < 0 or int(self.symbols.max()) >= self.vocab:
            raise InputError(
                f"the text has symbols from {int(self.symbols.min())} to {int(self.symbols.max())}, "
                f"and a vocabulary of {self.vocab} ends at {self.vocab - 1}; give the vocabulary that it was read with"
            )


def bigram(text: np.ndarray | Tensor, vocab: int | None = None) -> Target:
    """What follows each symbol of a text, and how often: the table of its pairs.

    Args:
        text: `[n]` whole numbers.
        vocab: how many symbols there are; one more than the largest of the text when None.

    A symbol that nothing follows says nothing: all chances are 1 / vocab. Only pairs that are there are kept, so that
    vocabularies of tens of thousands will do. Raises `InputError` as `Target` does.

    >>> bigram(np.array([0, 1, 0, 2] * 50)).chances(torch.tensor([[1, 0]])).round(decimals=2).tolist()
    [[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]]
    """
    symbols = torch.as_tensor(np.asarray(text).astype(np.int64))
    size = int(symbols.max()) + 1 if vocab is None and len(symbols) else vocab or 0
    pairs, counts = torch.unique(symbols[:-1] * size + symbols[1:], return_counts=True)
    before = torch.div(pairs, max(size, 1), rounding_mode="floor")
    sums = torch.zeros(size, dtype=torch.float64).index_add_(0, before, counts.double())
    table = torch.sparse_coo_tensor(
        torch.stack([before, pairs - before * size]),
        (counts / sums[before]).float(),
        (size, size),
        check_invariants=True,
    )
    silent = sums == 0

    def chances(tokens: Tensor) -> Tensor:
        asked = tokens.flatten().cpu()
        found = table.index_select(0, asked).to_dense()
        found[silent[asked]] = 1 / size
        return found.view(*tokens.shape, size).to(tokens.device)

    return Target("bigram", symbols, size, chances)


TARGETS = {"bigram": bigram}
"""Targets by name, made of a text and the size of its vocabulary."""
