"""How well a model meets the targets of a task: the loss, and the measures that people ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.data.examples import IGNORED, Examples
from inn.inference.evaluate import Score, predictions
from inn.models.sequence import SequenceModel
from inn.nn.modes import device_of

_ROWS, _STEPS = 256, 2**16  # sequences side by side, and steps of all of them together
_LONG = 2**22  # the same where a sequence alone has more


@dataclass(frozen=True)
class TaskScore(Score):
    """The loss at the targets that count, and what else can be said of them."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """By name: `accuracy`, `exact`, of two classes `auroc`; or `rmse`, `mae` and `r2`, and of quantiles `coverage`."""


def evaluate_examples(
    model: SequenceModel,
    examples: Examples,
    *,
    dtype: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TaskScore:
    """Score a model on examples, each from a fresh state; long ones are read in windows, the state carried.

    Args:
        dtype: `bfloat16` runs the model under autocast.
        progress: called with (sequences scored, sequences) after every batch.

    >>> from inn import INN
    >>> from inn.config.run import DataConfig
    >>> from inn.data.task_data import task_data
    >>> data = task_data(DataConfig(corpus="task:parity"), {"length": 4})
    >>> score = evaluate_examples(INN(vocab=2, neurons=1, width=4, rounds=1, recall="none"), data.examples("test"))
    >>> score.count, sorted(score.metrics)
    (4000, ['accuracy', 'auroc', 'exact'])
    """
    nats, sums, done = 0.0, Tally(), 0
    device = device_of(model)
    for part in _side_by_side(examples):
        nats_of_part, found = _scored(model, part, device, dtype)
        nats += nats_of_part
        sums.add(found, part)
        done += len(part)
        if progress is not None:
            progress(done, len(examples))
    return TaskScore(nats, examples.counted, metrics=sums.metrics(getattr(model.config, "quantiles", None)))


def predict_examples(model: SequenceModel, examples: Examples, *, dtype: str | None = None) -> list[np.ndarray]:
    """What a model says at every step of each sequence, from a fresh state: `[T, O]` each."""
    found: list[np.ndarray] = []
    for part in _side_by_side(examples):
        pieces = [y.cpu().numpy() for y, _ in _windows(model, part, device_of(model), dtype)]
        whole = np.concatenate(pieces, 1)
        found += [row[:length] for row, length in zip(whole, part.lengths.tolist())]
    return found


def _side_by_side(examples: Examples) -> Iterator[Examples]:
    """The sequences in batches that are read at once."""
    longest = int(examples.lengths.max())
    most = _STEPS if longest <= _STEPS else _LONG  # what is longer than a window is read window by window in any case
    return examples.batches(max(1, min(_ROWS, most // longest)))


def _windows(
    model: SequenceModel, part: Examples, device: torch.device, dtype: str | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """What a model says of sequences, window by window: outputs and targets."""
    inputs, targets, _ = part.padded()
    window = max(1, _STEPS // len(part))
    pieces = (torch.from_numpy(inputs[:, at : at + window]).to(device) for at in range(0, inputs.shape[1], window))
    for i, (y, _) in enumerate(predictions(model, pieces, dtype=dtype)):
        yield y, torch.from_numpy(targets[:, i * window : (i + 1) * window]).to(device)


def _scored(model: SequenceModel, part: Examples, device: torch.device, dtype: str | None) -> tuple[float, Any]:
    """The loss of some sequences, and what was said where a target counts: outputs, targets, number of the sequence."""
    nats, found = 0.0, []
    for y, targets in _windows(model, part, device, dtype):
        nats += float(model.loss(y, targets))
        counts = targets != IGNORED if targets.ndim == 2 else ~targets.isnan().all(-1)
        rows = torch.arange(len(part), device=device)[:, None].expand_as(counts)[counts]
        found.append((y[counts].cpu().numpy(), targets[counts].cpu().numpy(), rows.cpu().numpy()))
    return nats, [np.concatenate(arrays) for arrays in zip(*found)]


class Tally:
    """Outputs at the targets that count, gathered over batches."""

    def __init__(self) -> None:
        self._hits: list[np.ndarray] = []
        self._wrong: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._values: list[tuple[np.ndarray, np.ndarray]] = []
        self._labels: list[np.ndarray] = []

    def add(self, found: Any, part: Examples) -> None:
        """Count some sequences."""
        outputs, targets, rows = found
        if targets.ndim == 2:
            self._values.append((outputs, targets))
            return
        hits = outputs.argmax(-1) == targets
        self._hits.append(hits)
        wrong = np.bincount(rows, ~hits, minlength=len(part)) > 0
        self._wrong.append(wrong[np.bincount(rows, minlength=len(part)) > 0])
        if outputs.shape[-1] > 1:  # a task of symbols may have two labels among others
            self._scores.append(outputs[:, 1] - outputs[:, 0])
            self._labels.append(targets)

    def metrics(self, quantiles: list[float] | None) -> dict[str, float]:
        """The measures of all of them."""
        if self._values:
            outputs, targets = map(np.concatenate, zip(*self._values))
            return _of_values(outputs, targets, quantiles)
        found = {
            "accuracy": float(np.concatenate(self._hits).mean()),
            "exact": 1.0 - float(np.concatenate(self._wrong).mean()),
        }
        if self._scores:
            labels = np.concatenate(self._labels)
            if labels.max() == 1 and 0 < labels.mean() < 1:
                found["auroc"] = auroc(np.concatenate(self._scores), labels)
        return found


def _of_values(outputs: np.ndarray, targets: np.ndarray, quantiles: list[float] | None) -> dict[str, float]:
    found = {}
    if outputs.ndim == 3:  # quantiles: the middle one is the prediction
        assert quantiles is not None
        inside = (outputs[..., 0] <= targets) & (targets <= outputs[..., -1])
        found["coverage"] = float(inside[~np.isnan(targets)].mean())
        outputs = outputs[..., int(np.argmin(np.abs(np.array(quantiles) - 0.5)))]
    counts = ~np.isnan(targets)
    errors = np.where(counts, outputs.astype(np.float64) - targets, 0.0)
    spread = np.where(counts, targets - np.nanmean(targets, 0), 0.0)
    total = float((spread**2).sum())
    return {
        "rmse": math.sqrt(float((errors**2).sum() / counts.sum())),
        "mae": float(np.abs(errors).sum() / counts.sum()),
        **({"r2": 1.0 - float((errors**2).sum()) / total} if total > 0 else {}),
        **found,
    }


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The chance that a positive scores above a negative, ties counting half; labels `[n]` are 0 and 1.

    NaN where there are positives alone, or none.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
    0.875
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # of equal scores the mean rank
    positive = labels == 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m)) if n * m else math.nan


def constant_floors(model: Any, examples: Examples, seen: Examples) -> dict[str, float]:
    """Bits per target of an answer that is always the same: the share of each class, or the mean, in training.

    Where the next step of a signal is told, also those of its last one (`last value`).

    Args:
        model: whose loss it is measured in.
        examples: on which it is measured.
        seen: from which it is taken.
    """
    if examples.targets.ndim == 1:
        size = model.config.vocab if hasattr(model.config, "vocab") else model.config.outputs
        counts = np.bincount(seen.targets[seen.targets != IGNORED], minlength=size) + 1.0
        logits = np.log(counts / counts.sum())
        targets = torch.from_numpy(examples.targets)[None]
        y = torch.from_numpy(logits).float().expand(1, len(examples.targets), -1)
    else:
        targets = torch.from_numpy(examples.targets)[None]
        mean = np.nanmean(seen.targets, 0)
        y = torch.from_numpy(mean).float().expand(1, *examples.targets.shape)
        if (quantiles := getattr(model.config, "quantiles", None)) and model.config.told == "quantiles":
            edges = torch.from_numpy(np.nanquantile(seen.targets, quantiles, 0).T).float()
            y = edges.expand(1, len(examples.targets), -1, -1)
    answers, device = {"constant": y}, device_of(model)
    if getattr(model.config, "head", "") == "next":
        mean = np.nanmean(seen.inputs, 0)
        answers["last value"] = torch.from_numpy(np.where(np.isnan(examples.inputs), mean, examples.inputs))[None]
    return {
        name: float(model.loss(y.to(device), targets.to(device))) / examples.counted / math.log(2)
        for name, y in answers.items()
    }
