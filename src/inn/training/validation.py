"""Measuring a model in the middle of training, which leaves no trace: its mode and the random numbers are put back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inn.config.run import RunConfig
from inn.data.dataset import Dataset
from inn.data.examples import Examples
from inn.data.task_data import TaskData
from inn.inference import resting
from inn.inference.evaluate import Score, evaluate
from inn.inference.examples import constant_floors, evaluate_examples
from inn.inference.floors import FLOOR_NAMES, TABLE_LIMIT, ngram_bits, ngram_counts
from inn.models.generate import generate
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens, evaluating
from inn.nn.recall.base import Found
from inn.nn.state import State
from inn.runs.checkpoint import pack_rng, unpack_rng
from inn.training.parallel.group import SINGLE_PROCESS, Group

SAMPLE = 200
"""Symbols of a sample."""
READ = 300_000
"""Symbols of the training text that a finished model can recall: more made its writing no better (study `samples`)."""
COUNTED = 2**26
"""Symbols of the training part, from its start, that floors are counted on: a whole large one would fill memory."""
_SEEN = 2**20  # of these, symbols on which the training text's own floors are measured
_WARMUP = 1024  # symbols that a parallel validation stream reads before it counts
_WINDOW = 512  # symbols of a forward pass, at most: fewer passes, where training's windows are short
_ROWS = 4  # rows of a batch that effective neurons are measured on


@contextlib.contextmanager
def paused_training(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards the modes and torch's random numbers are what they were."""
    random = pack_rng()
    try:
        with evaluating(model):
            yield
    finally:
        unpack_rng(random)


def validation_text(valid: np.ndarray, config: RunConfig) -> np.ndarray:
    """The part of the validation text that is read while training, `[n]`."""
    return valid[: config.train.eval_symbols or None]


def validation_examples(dataset: TaskData, config: RunConfig) -> Examples:
    """The examples that are scored while training: the first ones, as many as `eval_symbols` has steps for."""
    valid, steps = dataset.examples("valid"), config.train.eval_symbols
    count = len(valid) if not steps else max(1, int(np.searchsorted(valid.starts, steps, "right")) - 1)
    return valid if count >= len(valid) else valid.take(np.arange(count))


def validate(model: SequenceModel, dataset: Dataset, config: RunConfig, group: Group = SINGLE_PROCESS) -> Score:
    """Score the validation part: a task's examples; a text in streams, long enough for what a model recalls to matter.

    Several processes share the streams; where there are too few, each scores all of them, and all examples.
    """
    if isinstance(dataset, TaskData):
        with paused_training(model):
            return evaluate_examples(model, validation_examples(dataset, config), dtype=config.train.dtype)
    text = validation_text(dataset.valid, config)
    streams = max(1, min(config.data.batch, len(text) // (64 * _WARMUP)))
    share = (group.rank, group.world) if streams >= group.world else (0, 1)
    batch, window = config.data.batch, config.data.window  # no pass reads more at once than a training step does
    window = max(window, min(_WINDOW, batch * window // streams))
    options: dict[str, Any] = {"window": window, "warmup": _WARMUP, "dtype": config.train.dtype}
    with paused_training(model):
        score = evaluate(model, text, streams=streams, share=share, **options)
    return score if share == (0, 1) else Score(group.sum(score.nats_total)[0], score.count)


def sample(model: SequenceModel, seed: int) -> str:
    """What the model writes from an empty prompt."""
    with paused_training(model):
        return "".join(generate(model, tokens=SAMPLE, seed=seed))


def experience(model: SequenceModel, dataset: Dataset) -> State | None:
    """What the model can recall of the end of its training text; None for models that recall nothing, and for tasks."""
    if isinstance(dataset, TaskData):
        return None
    return model.after_reading(as_tokens(dataset.train[-READ:], torch.device("cpu")))


def effective_neurons(model: SequenceModel, inputs: Tensor, found: Found | None = None) -> float | None:
    """Effective neurons on the first rows of a batch `[B, T]`; None for a model without a population.

    `found` is what the model recalls there, here and below, where that is known.
    """
    from inn.analysis.measures.effective import measure_effective_neurons

    with paused_training(model):
        return measure_effective_neurons(model, inputs[:_ROWS], **_first(found))


def firing(model: SequenceModel, inputs: Tensor, found: Found | None = None) -> dict[str, float]:
    """The share of units that fire on the first rows of a batch `[B, T]`, by spiking memory; {} where there is none."""
    from inn.analysis.measures.firing import firing as measure

    with paused_training(model):
        return measure(model, inputs[:_ROWS], **_first(found))


def taking_part(model: SequenceModel, inputs: Tensor, found: Found | None = None) -> dict[str, float]:
    """The share of neurons that do not rest on the first rows of a batch `[B, T]`, by gate; {} where none lets rest."""
    with paused_training(model):
        return resting.taking_part(model, inputs[:_ROWS], **_first(found))


def _first(found: Found | None) -> dict[str, Found]:
    return {} if found is None else {"found": {name: t[:_ROWS] for name, t in found.items()}}


def count_floors(model: SequenceModel, dataset: Dataset, config: RunConfig) -> dict[str, dict[str, float]]:
    """Bits of n-gram tables by name, on the `valid` text and on the `train` text itself; of a task those of a constant.

    The training loss is compared with the latter, which the tables fit a little better.
    """
    if isinstance(dataset, TaskData):
        train, valid = dataset.examples("train"), validation_examples(dataset, config)
        return {name: constant_floors(model, part, train) for name, part in (("valid", valid), ("train", train))}
    vocab = dataset.vocabulary.size
    text, seen = validation_text(dataset.valid, config), dataset.train[:COUNTED]
    found = {"valid": {"uniform": math.log2(vocab)}, "train": {"uniform": math.log2(vocab)}}
    for order in (1, 2, 3):
        if vocab**order <= TABLE_LIMIT and len(text) > order and len(seen) > order:
            counts = ngram_counts(seen, vocab, order)
            for name, part in (("valid", text), ("train", seen[:_SEEN])):
                found[name][FLOOR_NAMES[order]] = ngram_bits(counts, part, vocab, order)
    return found
