"""How well a model predicts a text: the one loop that reads with a model, and scores made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.typed import typed
from inn.inference.learning import Learner, Learning
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens, device_of, evaluating
from inn.nn.state import State
from inn.system.errors import InputError

Predictor = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""From what is read and the state before it to logits `[B, t, V]` and the state after; any `SequenceModel` is one."""
_TOGETHER = 2**13  # symbols of windows that are scored side by side


def predictions(
    predict: Predictor, windows: Iterable[Tensor], state: Any = None, *, dtype: str | None = None
) -> Iterator[tuple[Tensor, Any]]:
    """Read a text window by window, the state carried from each to the next; yield logits and the state after each.

    Everything that asks what a model expects of a text reads by this loop. A model is in evaluation mode while it
    reads, without gradients; between two windows the caller has its own mode.

    Args:
        predict: a model, or a function of what is read and the state before it.
        windows: what it reads, `[B, t]` symbols for a model; made one at a time.
        state: the state before the first window; None starts afresh.
        dtype: `bfloat16` reads under autocast and `float32` without; None leaves that to the caller.

    The logits are float32, `[B, t, V]`: at each symbol what is expected of the next one.
    """
    for x in windows:
        mode = evaluating(predict) if isinstance(predict, nn.Module) else nullcontext()
        cast = (
            torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == "bfloat16")
            if dtype is not None
            else nullcontext()
        )
        with mode, torch.no_grad(), cast:
            logits, state = predict(x, state)
        yield logits.float(), state


def nats_of(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each symbol under what was expected there: `[B, t, V]` and `[B, t]` -> `[B, t]`."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


def text_nats(
    predict: Predictor, windows: Iterable[Tensor], state: Any = None, *, dtype: str | None = None
) -> Iterator[tuple[Tensor, Any]]:
    """What the symbols of a text cost, window by window: nats `[B, t]` float64, on the CPU, and the state after each.

    `windows` are `[B, t + 1]` symbols, the first of which is the last one of the window before: it is read here, and
    was scored there. The rest is as in `predictions`.

    >>> def guess(x, state):
    ...     return torch.zeros(*x.shape, 2), state
    >>> [nats.tolist() for nats, _ in text_nats(guess, [torch.tensor([[0, 1]])])]
    [[[0.6931471824645996]]]
    """
    for tokens in windows:
        logits, state = next(predictions(predict, [tokens[:, :-1]], state, dtype=dtype))
        yield nats_of(logits, tokens[:, 1:]).cpu().double(), state  # on the host: not every accelerator has float64


def overlapping(tokens: Tensor, window: int) -> Iterator[Tensor]:
    """A text `[B, n]` in windows for `text_nats`, each of at most `window` symbols and the one that they follow."""
    for at in range(0, tokens.shape[1] - 1, window):
        yield tokens[:, at : at + window + 1]


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


@typed
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
    state: State | None = None,
    learn: Learning | None = None,
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
        state: what the stream begins with, of one stream (`SequenceModel.after_reading`); None starts afresh.
        learn: how a copy of the model goes on learning from what it has scored (`inn.inference.learning.Learner`), in
            one strict stream; None: it does not. The model itself is not changed.
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
    device = _device(device, model)
    if state is not None:
        if streams > 1:
            raise InputError(f"a state that a text begins with is that of one stream, not of {streams}; set streams 1")
        state = state.to(device)

    if learn is not None and streams > 1:
        raise InputError(
            f"a model learns from a text that it reads in its order, not in {streams} streams; set streams 1"
        )
    reads = model if learn is None else predictor(Learner(model, learn, state=state))

    # n - 1 targets = lead + streams * part: stream i starts at i * part and reads lead + part symbols. The first
    # stream counts all its targets, the others count the last `part`: together each target once.
    targets = n - 1
    streams = max(1, min(streams, targets - warmup))
    lead = 0 if streams == 1 else warmup + (targets - warmup) % streams
    part = (targets - lead) // streams
    length = lead + part
    own = range(streams)[streams * share[0] // share[1] : streams * (share[0] + 1) // share[1]]

    def windows() -> Iterator[Tensor]:
        for at in range(0, length, window):
            stop = min(at + window, length)
            yield as_tokens(np.stack([symbols[i * part + at : i * part + stop + 1] for i in own]), device)

    totals, at = torch.zeros(blocks, dtype=torch.float64), 0
    for nats, _ in text_nats(reads, windows(), state, dtype=dtype):
        size = nats.shape[1]
        place = torch.tensor(own)[:, None] * part + torch.arange(at, at + size)  # of a target in the text
        counted = torch.ones(len(own), size, dtype=torch.bool)
        counted[int(own[0] == 0) :, : max(0, lead - at)] = False  # warming up
        totals.index_add_(0, place[counted] * blocks // targets, nats[counted])
        at += size
        if progress is not None:
            progress(at * streams, length * streams)
    edges = [-(-b * targets // blocks) for b in range(blocks + 1)]
    counts = [after - before for before, after in pairwise(edges)]
    return Score(float(totals.sum()), targets, tuple(map(Score, totals.tolist(), counts)))


@typed
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
    device = _device(device, model)
    size = min(window, n)
    begins = [*range(0, n - size + 1, size), *([n - size] if n % size else [])]
    rows, total, done = max(1, min(16, _TOGETHER // size)), torch.zeros((), dtype=torch.float64), 0
    for at in range(0, len(begins), rows):
        part = begins[at : at + rows]
        read = [symbols[i - 1 : i + size] if i else np.append(start, symbols[:size]) for i in part]
        nats, _ = next(text_nats(model, [as_tokens(np.stack(read), device)], dtype=dtype))
        for row, begin in zip(nats, part):
            total += row[done - begin :].sum()
            done = begin + size
        if progress is not None:
            progress(done, n)
    return Score(float(total), n)


def predictor(learner: Learner) -> Predictor:
    """A learner as `predictions` asks it; it has a state of its own."""

    def predict(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return learner.read(x), state

    return predict


def _device(name: torch.device | str | None, model: SequenceModel) -> torch.device:
    if name is None:
        return device_of(model)
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device cannot be '{name}'; choose cpu, cuda, cuda:1 (2, ...) or mps") from error


def row_nats(model: SequenceModel, rows: np.ndarray, window: int = 512) -> Tensor:
    """Nats of every symbol after the first in rows of text `[R, T + 1]`, each from a fresh state: `[R, T]` float64."""
    windows = overlapping(as_tokens(rows, device_of(model)), window)
    return torch.cat([nats for nats, _ in text_nats(model, windows)], 1)
