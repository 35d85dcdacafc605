"""An n-gram table with add-one smoothing: counts instead of training. It gives the floors that a model must beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.config.rivals import NgramConfig
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.ops.keys import histories
from inn.system.errors import InputError

_DENSE = 2**22  # entries up to which counting into a full table beats sorting
_CHUNK = 2**22  # symbols counted at a time: bounds the memory, whatever the length of the text


class Ngram(SequenceModel):
    """p(s | context) = (count(context, s) + 1) / (count(context) + vocab), the context the last order - 1 symbols.

    Where fewer symbols precede (at the start, after a reset), the table of just that many is used, so all orders
    1 .. order are kept. An n-gram is the number of its symbols in base `vocab`; `codes_k` holds those of order k that
    occur, sorted, and `counts_k` how often. No parameters: `fit` counts, and the buffers are saved like any other.

    The state holds `(0, "context")` `[B, 1, order - 1]` int64, the last symbols, oldest first, -1 for none yet.

    >>> model = Ngram(NgramConfig(vocab=3, order=2)).fit(torch.tensor([0, 1, 0, 1, 0, 2]))
    >>> logits, _ = model(torch.tensor([[0]]))
    >>> (logits.exp() * 6).round().int().tolist()  # after 0: 1 twice, 2 once; each one more, over 3 + 3
    [[[1, 3, 2]]]
    """

    codes_1: Tensor

    def __init__(self, config: NgramConfig):
        super().__init__(config)
        for k in range(1, config.order + 1):
            self.register_buffer(f"codes_{k}", torch.zeros(0, dtype=torch.int64))
            self.register_buffer(f"counts_{k}", torch.zeros(0, dtype=torch.int64))

    def table(self, order: int) -> tuple[Tensor, Tensor]:
        """The n-grams of this order that occur, as sorted codes, and their counts."""
        return getattr(self, f"codes_{order}"), getattr(self, f"counts_{order}")

    def fit(self, symbols: np.ndarray | Tensor) -> Ngram:
        """Count the n-grams of a text, `[n]` integers in `[0, vocab)`; what was counted before is forgotten.

        Works through the text in pieces, so a memory-mapped text stays on disk.

        Raises:
            InputError: for a symbol outside `[0, vocab)`.
        """
        V, order = self.config.vocab, self.config.order
        symbols = symbols.cpu().numpy() if isinstance(symbols, Tensor) else symbols
        device = self.codes_1.device
        codes, counts = count_ngrams(symbols, V, order)
        for k in range(order, 0, -1):
            if k < order:
                # Every gram of k symbols but the text's first ends one of k + 1 symbols: no second pass is needed.
                first = encode(symbols[:k], V, k)
                codes, counts = merge(
                    np.concatenate((codes % V**k, first)), np.concatenate((counts, np.ones_like(first)))
                )
            setattr(self, f"codes_{k}", torch.from_numpy(codes).to(device))
            setattr(self, f"counts_{k}", torch.from_numpy(counts).to(device))
        return self

    def forward(
        self, tokens: Tensor, state: State | None = None, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """See `SequenceModel.forward`; the logits are log-probabilities. A reset at a masked position still counts."""
        if torch.compiler.is_exporting():
            raise InputError("an n-gram model looks its counts up by value and cannot be exported; export another kind")
        state = self.initial_state(tokens.shape[0]) if state is None else state
        known = self.config.order - 1
        recent = histories(tokens, state[0, "context"][:, 0], reset, mask)
        available = (recent >= 0).sum(-1)  # [B, T], symbols of context that there are
        context = torch.zeros_like(tokens)
        for i in range(known):
            symbol = recent[..., i]
            context = torch.where(symbol >= 0, context * self.config.vocab + symbol, context)
        logits = torch.empty(*tokens.shape, self.config.vocab, dtype=torch.float32, device=tokens.device)
        for k in range(0 if tokens.is_meta else known + 1):
            here = available == k
            if here.any():
                logits[here] = self.log_probabilities(context[here], k + 1)
        return logits, State({(0, "context"): recent[:, -1:]})

    def log_probabilities(self, contexts: Tensor, order: int) -> Tensor:
        """Smoothed log-probabilities `[M, vocab]` after contexts `[M]` (codes of order - 1 symbols)."""
        V = self.config.vocab
        codes, counts = self.table(order)
        unique, rows = contexts.unique(return_inverse=True)  # streams repeat themselves: look up each context once
        first = torch.searchsorted(codes, unique * V)
        seen = torch.searchsorted(codes, (unique + 1) * V) - first  # distinct symbols that followed
        row = torch.arange(len(unique), device=codes.device).repeat_interleave(seen)
        entry = torch.arange(len(row), device=codes.device) + (first - (seen.cumsum(0) - seen))[row]
        total = torch.zeros_like(unique).index_add(0, row, counts[entry])
        log_total = (total + V).double().log()
        table = (-log_total)[:, None].repeat(1, V)
        table[row, codes[entry] - unique[row] * V] = (counts[entry] + 1).double().log() - log_total[row]
        return table.float()[rows]

    def initial_state(self, batch: int) -> State:
        """Nothing read yet: -1 everywhere."""
        shape, device = (batch, 1, self.config.order - 1), self.codes_1.device
        return State({(0, "context"): torch.full(shape, -1, dtype=torch.int64, device=device)})

    def flops(self) -> dict[str, float]:
        """Nothing to speak of: a prediction is a binary search, its arithmetic a few logarithms."""
        return {"lookup": 0.0}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # How many n-grams occur is known only now; PyTorch refuses to load into a buffer of another size.
        for name, buffer in list(self.named_buffers(recurse=False)):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, buffer.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def encode(symbols: np.ndarray, vocab: int, order: int) -> np.ndarray:
    """Every run of `order` symbols as a number in base `vocab`, `[n - order + 1]` int64 (empty if n < order)."""
    n = max(0, len(symbols) - order + 1)
    codes = np.zeros(n, dtype=np.int64)
    for i in range(order):
        codes = codes * vocab + symbols[i : i + n]
    return codes


def merge(codes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct codes and the sums of their counts."""
    distinct, where = np.unique(codes, return_inverse=True)
    sums = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(sums, where, counts)
    return distinct, sums


def count_ngrams(symbols: np.ndarray, vocab: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams that occur in a text as sorted codes, and their counts, both int64."""
    dense = np.zeros(vocab**order, dtype=np.int64) if vocab**order <= _DENSE else None
    codes = counts = np.zeros(0, dtype=np.int64)
    for start in range(0, len(symbols), _CHUNK):
        piece = np.asarray(symbols[start : start + _CHUNK + order - 1]).astype(np.int64)
        if piece.min() < 0 or piece.max() >= vocab:
            bad = piece.min() if piece.min() < 0 else piece.max()
            raise InputError(f"symbol {bad} is outside the vocabulary of {vocab}; set vocab to the data's")
        grams = encode(piece, vocab, order)
        if dense is not None:
            dense += np.bincount(grams, minlength=len(dense))
        else:
            new, times = np.unique(grams, return_counts=True)
            codes, counts = merge(np.concatenate((codes, new)), np.concatenate((counts, times)))
    if dense is not None:
        codes = dense.nonzero()[0].astype(np.int64)
        counts = dense[codes]
    return codes, counts
