"""How well a model predicts a text, and what tables of counts and a file compressor make of the same text."""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens as as_tokens
from inn.nn.modes import device_of as device_of
from inn.nn.modes import evaluating as evaluating
from inn.system.errors import InputError

FLOOR_NAMES = {0: "uniform", 1: "unigram", 2: "bigram", 3: "trigram"}
TABLE_LIMIT = 2**25
"""Largest table of counts, in entries; orders beyond it are left out."""
_CHUNK = 2**22
_TOGETHER = 2**13  # symbols of windows that are scored side by side


@dataclass(frozen=True)
class Score:
    """The cross-entropy of a text under a model, and the number of symbols it was averaged over."""

    nats_total: float
    count: int
    parts: tuple[Score, ...] = ()
    """The scores of the blocks that the text was cut into, in their order; they add up to this one."""

    @property
    def nats(self) -> float:
        """Nats per symbol."""
        return self.nats_total / self.count

    @property
    def bits(self) -> float:
        """Bits per symbol: BPC for characters, BPB for bytes."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats per symbol); infinite where a float cannot hold it."""
        return math.exp(self.nats) if self.nats < 700 else math.inf


def evaluate(
    model: SequenceModel,
    symbols: np.ndarray,
    *,
    streams: int = 1,
    window: int = 512,
    warmup: int = 1024,
    device: torch.device | str | None = None,
    dtype: str = "float32",
    blocks: int = 1,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Score every symbol after the first exactly once, the state carried from window to window.

    Args:
        symbols: `[n]` integers, n >= 2; a memory map is read window by window.
        streams: 1 reads the text as one strict stream. k > 1 reads k parts side by side, which is faster; each part
            after the first is warmed up on at least `warmup` symbols before it, which are not counted there.
            Fewer are used where the text is too short for them. What an INN recalls from further back it has in one
            stream only: many streams understate it.
        window: symbols per forward pass; the result does not depend on it, up to rounding.
        device: where the model is; its own device when None. The model is not moved.
        dtype: `bfloat16` runs the model under autocast; the sum is float64 in any case.
        blocks: consecutive parts of the text, equally long but for a symbol, that are scored on their own too.
        share: (k, of) reads the k-th of so many shares of the streams only; the nats of all shares add up to the whole
            text's. There must be a stream for each.
        progress: called with (symbols read, symbols to read) after every window.

    Raises `InputError` for fewer than two symbols and for counts below one.

    Example: ``evaluate(model, dataset.valid, streams=16).bits``
    """
    n = len(symbols)
    if n < 2:
        raise InputError(f"a text of {n} symbols cannot be scored; it takes at least 2")
    for name, value in (("streams", streams), ("window", window), ("warmup", warmup), ("blocks", blocks)):
        if value < (name != "warmup"):
            raise InputError(f"{name} must be at least {int(name != 'warmup')}, not {value}")
    device = torch.device(device) if device is not None else device_of(model)

    # n - 1 targets = lead + streams * part: stream i starts at i * part and reads lead + part symbols. The first
    # stream counts all its targets, the others count the last `part`: together each target once.
    targets = n - 1
    streams = max(1, min(streams, targets - warmup))
    lead = 0 if streams == 1 else warmup + (targets - warmup) % streams
    part = (targets - lead) // streams
    length = lead + part
    own = range(streams)[streams * share[0] // share[1] : streams * (share[0] + 1) // share[1]]

    totals, state = torch.zeros(blocks, dtype=torch.float64), None
    with evaluating(model), torch.no_grad():
        for at in range(0, length, window):
            size = min(window, length - at)
            rows = [symbols[i * part + at : i * part + at + size + 1] for i in own]
            tokens = as_tokens(np.stack(rows), device)
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
                logits, state = model(tokens[:, :-1], state)
            losses = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
            losses = losses.view(len(own), size).cpu().double()  # on the host: not every accelerator has float64
            warming = min(size, max(0, lead - at))
            place = torch.tensor(own)[:, None] * part + torch.arange(at, at + size)  # of a target in the text
            counted = torch.ones(len(own), size, dtype=torch.bool)
            counted[int(own[0] == 0) :, :warming] = False
            totals.index_add_(0, place[counted] * blocks // targets, losses[counted])
            if progress is not None:
                progress((at + size) * streams, length * streams)
    edges = [-(-b * targets // blocks) for b in range(blocks + 1)]
    counts = [after - before for before, after in pairwise(edges)]
    return Score(float(totals.sum()), targets, tuple(map(Score, totals.tolist(), counts)))


def evaluate_windows(
    model: SequenceModel,
    symbols: np.ndarray,
    window: int,
    start: int,
    *,
    device: torch.device | str | None = None,
    dtype: str = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Score every symbol exactly once, each window of the text from a fresh state.

    It is what lm-evaluation-harness does with a model whose `max_length` is `window` (`loglikelihood_rolling`): the
    windows lie side by side, a symbol is predicted from those before it in its window, the first of a window from the
    last one of the window before, the first of the text from `start`. What is left at the end is scored in a window
    that reaches back to its full length.

    Args:
        symbols: `[n]` integers, n >= 1.
        window: symbols that a window reads, at least 1.
        start: the symbol that the text is thought to follow.
        device, dtype, progress: see `evaluate`.

    Raises `InputError` for an empty text and a window below one.

    Example: ``evaluate_windows(model, dataset.test, 256, start_symbol(dataset.vocabulary)).bits``
    """
    n = len(symbols)
    if n < 1 or window < 1:
        raise InputError(f"a text of {n} symbols cannot be scored in windows of {window}; both must be at least 1")
    device = torch.device(device) if device is not None else device_of(model)
    size = min(window, n)
    begins = [*range(0, n - size + 1, size), *([n - size] if n % size else [])]
    rows, nats, done = max(1, min(16, _TOGETHER // size)), torch.zeros((), dtype=torch.float64), 0
    with evaluating(model), torch.no_grad():
        for at in range(0, len(begins), rows):
            part = begins[at : at + rows]
            targets = as_tokens(np.stack([symbols[i : i + size] for i in part]), device)
            before = [start if i == 0 else int(symbols[i - 1]) for i in part]
            inputs = torch.cat([torch.tensor(before, device=device)[:, None], targets[:, :-1]], 1)
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
                logits, _ = model(inputs)
            losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
            losses = losses.view(len(part), size).cpu().double()
            for row, begin in zip(losses, part):
                nats += row[done - begin :].sum()
                done = begin + size
            if progress is not None:
                progress(done, n)
    return Score(float(nats), n)


def row_nats(model: SequenceModel, rows: np.ndarray, window: int = 512) -> torch.Tensor:
    """Nats of every symbol after the first in rows of text `[R, T + 1]`, each from a fresh state: `[R, T]` float64."""
    tokens, nats, state = as_tokens(rows, device_of(model)), [], None
    with evaluating(model), torch.no_grad():
        for at in range(0, rows.shape[1] - 1, window):
            piece = tokens[:, at : at + window + 1]
            logits, state = model(piece[:, :-1], state)
            losses = F.cross_entropy(logits.float().flatten(0, 1), piece[:, 1:].flatten(), reduction="none")
            nats.append(losses.view(len(rows), -1).cpu().double())
    return torch.cat(nats, 1)


def ngram_counts(symbols: np.ndarray, vocab: int, order: int) -> np.ndarray:
    """Count the n-grams of a text: `[vocab ** order]` int32, the last symbol varying fastest."""
    counts = np.zeros(vocab**order, dtype=np.int32)
    for codes in _codes(symbols, vocab, order):
        if counts.size <= _CHUNK:
            counts += np.bincount(codes, minlength=counts.size).astype(np.int32)
        else:  # a bincount per chunk would cost more than the chunk
            np.add.at(counts, codes, 1)
    return counts


def ngram_bits(counts: np.ndarray, symbols: np.ndarray, vocab: int, order: int) -> float:
    """Bits per symbol of a text under add-one smoothed n-gram counts, (count + 1) / (context + vocab).

    The symbols scored are those with a whole context, the first symbol never.
    """
    contexts = counts.reshape(-1, vocab).sum(axis=1, dtype=np.int64)
    total, n = 0.0, 0
    for codes in _codes(symbols[1:] if order == 1 else symbols, vocab, order):
        share = (counts[codes] + 1.0) / (contexts[codes // vocab] + vocab)
        total -= float(np.log2(share).sum())
        n += len(codes)
    return total / max(1, n)


def _codes(symbols: np.ndarray, vocab: int, order: int) -> Iterator[np.ndarray]:
    """Number the n-grams of a text, a chunk of int64 codes at a time."""
    n = len(symbols) - order + 1
    for at in range(0, n, _CHUNK):
        size = min(_CHUNK, n - at)
        codes = np.zeros(size, dtype=np.int64)
        for i in range(order):
            codes *= vocab
            codes += symbols[at + i : at + i + size]
        yield codes


def floors(
    train_symbols: np.ndarray, eval_symbols: np.ndarray, vocab: int, orders: Sequence[int] = (0, 1, 2, 3)
) -> dict[str, float]:
    """Bits per symbol that tables of counts reach on a text: what a model that learned anything must beat.

    Add-one smoothed cross-entropy, counted on `train_symbols`, scored on `eval_symbols` (both `[n]` integers below
    `vocab`). Order 0 is uniform, 1 unigram, 2 bigram, 3 trigram, then "4-gram", ...; orders whose table would exceed
    2**25 entries are left out.

    >>> text = np.array([0, 1] * 500)
    >>> {name: round(bits, 2) for name, bits in floors(text, text, vocab=2, orders=(0, 1, 2)).items()}
    {'uniform': 1.0, 'unigram': 1.0, 'bigram': 0.0}
    """
    result = {}
    for order in orders:
        name = FLOOR_NAMES.get(order, f"{order}-gram")
        if order == 0:
            result[name] = math.log2(vocab)
        elif vocab**order <= TABLE_LIMIT and len(eval_symbols) > order:
            result[name] = ngram_bits(ngram_counts(train_symbols, vocab, order), eval_symbols, vocab, order)
    return result


def xz_bits(train: str | bytes, held_out: str | bytes, symbols: int | None = None) -> dict[str, float]:
    """Bits per symbol that xz (preset 9e) needs for held-out text: `alone`, and `primed` with the training text.

    `primed` is what the held-out text adds to the compressed training text, of which xz remembers the last 64 MiB.
    `symbols` counts the held-out symbols; the length of `held_out` (characters, or bytes) when None.

    >>> xz_bits("the cat sat on the mat. " * 20, "the cat sat.")["primed"] < 3
    True
    """
    symbols = len(held_out) if symbols is None else symbols
    if symbols < 1:
        raise InputError("there is no held-out text to compress")
    first, second = (text.encode() if isinstance(text, str) else bytes(text) for text in (train, held_out))
    preset = 9 | lzma.PRESET_EXTREME
    alone, base, both = (8 * len(lzma.compress(part, preset=preset)) for part in (second, first, first + second))
    return {"alone": alone / symbols, "primed": (both - base) / symbols}
