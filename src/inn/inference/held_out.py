"""How well a run predicts a part of its corpus, beside what tables of counts make of the same text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inn.config.parts import plain
from inn.config.run import DataConfig, RunConfig
from inn.config.typed import typed
from inn.data.dataset import Dataset
from inn.data.metric import in_metric
from inn.data.size import TextSize, scored_size
from inn.data.streams import text_read
from inn.data.task_data import TaskData, task_data
from inn.inference.evaluate import Score, evaluate, evaluate_windows
from inn.inference.examples import constant_floors, evaluate_examples
from inn.inference.floors import COMPRESSORS, floors, primed_bits
from inn.inference.floors import compressors as compressors_here
from inn.inference.learning import Learning
from inn.inference.resting import Shares, spent, watched
from inn.models.generate import start_symbol
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens
from inn.nn.state import State
from inn.runs.directory import Run
from inn.runs.load import load_with_data, path_of
from inn.system.device import resolve_device
from inn.system.errors import InputError
from inn.system.report import Report, nobody

_LONG = 4096
"""Symbols per pass of a model that begins with what it can recall of its training text."""


def experience(model: SequenceModel, dataset: Dataset, config: RunConfig) -> State:
    """What a model can recall of all that it was trained on; raises `InputError` where it recalls nothing."""
    data = config.data
    read = text_read(dataset.train, data.batch, data.window, data.order, config.train.symbols)
    found = model.after_reading(as_tokens(read, torch.device("cpu")))
    if found is None:
        raise InputError(f"a model of kind '{config.model.kind}' recalls no text here; leave primed out")
    return found


@typed
def evaluate_run(
    run: str | Path | Run,
    split: str = "test",
    *,
    streams: int = 1,
    window: int | None = None,
    limit: int | None = None,
    device: str = "auto",
    dtype: str = "float32",
    compressors: bool = False,
    primed: bool = False,
    learn: Learning | None = None,
    task: Mapping[str, Any] | None = None,
    report: Report = nobody,
) -> dict[str, Any]:
    """Score a run on a part of its corpus; of a task on the targets that count (`evaluate_task`).

    Args:
        run: a run, or its directory.
        split: the part: `train`, `valid` or `test`.
        streams: parts of it that are read side by side, see `evaluate`.
        window: start afresh every so many symbols, as `evaluate_windows` does, the first of them after what an empty
            prompt starts with; None carries the state on.
        limit: score the first symbols only, so many; None scores all.
        device: `auto`, `cpu`, `cuda` (or `cuda:1`, ...) or `mps`.
        dtype: `float32`, or `bfloat16` under autocast.
        compressors: beside the tables of counts, what file compressors make of it (see `compressed`).
        primed: begin with what the model can recall of the text that it was trained on, as compressors begin with
            theirs; its memories are empty all the same.
        learn: how a copy of the model learns from what it has scored, see `evaluate`: another score, beside the
            ordinary one; None leaves it out.
        task: of a task, options that are to be other than in training: `{"length": 256}`.
        report: told of what is fetched, encoded and scored.

    Returns:
        plain data: the score in the measure of the run's symbols, under its name (`bpc`, `bpb`, `ppl` or `bits`);
        `nats`, `bits` and `perplexity` per symbol, and the `count` of symbols scored; the same in measures of the text
        (`of_text`); and the `floors`, bits per symbol of tables of counts. With `learn` the
        same measures of the model that learns, and how it did, are in `learned`. `flops` is what a forward pass costs
        per symbol. Where gates let neurons rest that is of those that took part, whose share is `active` by gate, and
        `dense_flops` what it would be if all did.

    Raises `InputError` for a run that cannot be loaded, a corpus that is no longer what it was trained on, and options
    that do not go together.

    Example: ``evaluate_run("runs/demo")["bits"]``
    """
    if learn is not None and (window is not None or streams > 1):
        raise InputError("a model learns from one strict stream, its state carried; leave window and streams out")
    if primed and (window is not None or streams > 1):
        raise InputError("what is recalled of the training text is for one strict stream; leave window and streams out")
    if window is not None and streams > 1:
        raise InputError("streams carry the state on and a window starts it afresh; leave one of them out")
    config = Run(path_of(run)).config()
    if not config.data.text:
        if window is not None or streams > 1 or compressors or primed or learn is not None:
            raise InputError(
                "streams, window, compressors, primed and learn are of a text, and this is a task; leave them out"
            )
        return evaluate_task(run, split, task=task, limit=limit, device=device, dtype=dtype, report=report)
    if task:
        raise InputError(f"the run's data is a text, which has no option '{next(iter(task))}'; leave task out")
    where = resolve_device(device)
    model, dataset = load_with_data(run, report=report)
    model.to(where)
    symbols, vocabulary = dataset.split(split)[:limit], dataset.vocabulary
    options: dict[str, Any] = {"device": where, "dtype": dtype, "progress": partial(report, "scoring")}
    state, size = None, {}
    with watched(model) as active:
        if window is None:
            if primed:  # tables that are large are copied once a window
                state, size = experience(model, dataset, config), {"window": _LONG}
            start, score = None, evaluate(model, symbols, streams=streams, state=state, **size, **options)
        else:
            start = start_symbol(vocabulary)
            score = evaluate_windows(model, symbols, window, start, **options)
    found = floors(dataset.train, symbols, vocabulary.size)
    metric, text = vocabulary.metric, scored_size(dataset, split, symbols, first=window is not None)
    learned = {}
    if learn is not None:
        options["progress"] = partial(report, "learning")
        after = evaluate(model, symbols, state=state, learn=learn, **size, **options)
        own = {metric.lower(): in_metric(after.bits, metric), "nats": after.nats, "bits": after.bits}
        learned = {"learned": {**of_text(after, text), **own, **asdict(learn)}}
    if compressors:
        read = len(dataset.train) if hasattr(model, "fit") else config.train.symbols
        bits = compressed(dataset, config.data, read, {split: symbols})
        found |= {name: parts[split] / len(symbols) for name, parts in bits.items()}
    return {
        "run": str(path_of(run)),
        "corpus": dataset.name,
        "split": split,
        **of_text(score, text),
        metric.lower(): in_metric(score.bits, metric),
        "metric": metric,
        "unit": vocabulary.unit,
        "nats": score.nats,
        "bits": score.bits,
        "perplexity": score.perplexity,
        "count": score.count,
        "streams": streams,
        "window": window,
        "start_symbol": start,
        "primed": primed,
        **learned,
        "parameters": model.num_parameters,
        **_cost(model, active),
        "floors": found,
        "data_sha256": dataset.sha256,
    }


def evaluate_task(
    run: str | Path | Run,
    split: str = "test",
    *,
    task: Mapping[str, Any] | None = None,
    limit: int | None = None,
    device: str = "auto",
    dtype: str = "float32",
    report: Report = nobody,
) -> dict[str, Any]:
    """Score a run on a part of its task, each sequence from a fresh state; arguments as in `evaluate_run`.

    `limit` is the number of sequences that are read, the first ones.

    Returns plain data: the task's own `metric` and its value as `score`; all `metrics` by name; `nats` and `bits` per
    target and the `count` of targets; the number of `sequences`; the `floors`, bits of an answer that is always the
    same and, where the task knows it, of the best answer that there is.

    Raises `InputError` for options that the task has not, and where they change what the model reads or tells.
    """
    model, dataset = load_with_data(run, report=report)
    assert isinstance(dataset, TaskData)
    seen = dataset.examples("train")
    if task:
        dataset = task_data(Run(path_of(run)).config().data, task)
        if dataset.vocabulary != model.vocabulary:
            changed = ", ".join(f"{name} {value}" for name, value in task.items())
            raise InputError(f"with {changed} the task has other symbols than the run was trained on; leave that out")
    model.to(resolve_device(device))
    examples = dataset.examples(split)
    examples = examples if limit is None or limit >= len(examples) else examples.take(np.arange(limit))
    best = dataset.task.optimal_loss(examples)
    with watched(model) as active:
        score = evaluate_examples(model, examples, dtype=dtype, progress=partial(report, "scoring"))
    return {
        "run": str(path_of(run)),
        "corpus": dataset.name,
        "split": split,
        "task": plain(dataset.task.options) if is_dataclass(dataset.task.options) else {},
        "metric": dataset.task.metric,
        "score": score.metrics.get(dataset.task.metric),
        "metrics": dict(score.metrics),
        "unit": "target",
        "nats": score.nats,
        "bits": score.bits,
        "count": score.count,
        "sequences": len(examples),
        "parameters": model.num_parameters,
        **_cost(model, active),
        "floors": constant_floors(model, examples, seen) | ({} if best is None else {"optimal": best / math.log(2)}),
        "data_sha256": dataset.sha256,
    }


def _cost(model: SequenceModel, active: Shares) -> dict[str, Any]:
    """FLOPs per step; where neurons may rest, of those that took part while scoring, and which share that was."""
    flops = sum(spent(model, active).values())
    return {"flops": flops, **({"active": dict(active), "dense_flops": sum(model.flops().values())} if active else {})}


def compressed(
    dataset: Dataset, data: DataConfig, read: int, parts: Mapping[str, np.ndarray], names: Iterable[str] = COMPRESSORS
) -> dict[str, dict[str, int]]:
    """Bits that file compressors need for held-out symbols, after the very text that a model was trained on.

    Args:
        dataset: the corpus.
        data: how training reads it.
        read: symbols that training reads.
        parts: the symbols `[n]` to compress, by name.
        names: of `inn.inference.floors.COMPRESSORS`; those that are not on this machine are left out.

    Returns the bits that each part adds to the training text, the first symbol included, by compressor and part. They
    read the text as the symbols spell it, and go on learning while they read, as a model's state does.
    """
    spelt = dataset.vocabulary.decode_bytes
    train = spelt(text_read(dataset.train, data.batch, data.window, data.order, read))
    held_out = [spelt(symbols) for symbols in parts.values()]
    here = compressors_here()
    return {name: dict(zip(parts, primed_bits(name, train, held_out))) for name in names if name in here}


def of_text(score: Score, size: TextSize | None) -> dict[str, Any]:
    """A score in measures of the text itself, comparable whatever the symbols were.

    Bits per byte (`bpb`) and per character (`bpc`), and the perplexity per word that the prediction of its letters and
    white space comes to, line ends counted as words (`ppl`); None each where the text's size is not known.
    """
    counts = {"bpb": size and size.bytes, "bpc": size and size.characters, "ppl": size and size.words}
    parts = {name: Score(score.nats_total, count) if count else None for name, count in counts.items()}
    return {
        **{name: part and (part.perplexity if name == "ppl" else part.bits) for name, part in parts.items()},
        "text": size and asdict(size),
    }
