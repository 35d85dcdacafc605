"""A run made of a run by surgery: written at step 0, whole or not at all; and what changed, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inn.config.typed import typed
from inn.data.task_data import TaskData
from inn.inference.evaluate import evaluate
from inn.inference.examples import evaluate_examples
from inn.models.sequence import SequenceModel
from inn.runs import checkpoint as checkpoints
from inn.runs.beside import carry
from inn.runs.directory import Run
from inn.runs.eight import narrowed
from inn.runs.exported import experience_bytes
from inn.runs.load import checkpoint_of, load_data, path_of
from inn.runs.ties import ties
from inn.surgery.moments import Moments
from inn.surgery.reading import config_of
from inn.system.errors import InputError
from inn.system.files import remove_folder


@typed
def write_run(
    model: SequenceModel,
    source: str | Path | Run,
    path: str | Path,
    made: str,
    moments: Mapping[str, torch.Tensor] | None = None,
    *,
    int8: bool = False,
    corpus: str | None = None,
) -> Run:
    """Write a model that was made of a run's as a run of its own, at step 0, to be trained on by `inn train --from`.

    Settings of data and training, the vocabulary and what lies beside them are the source's; what the model recalls of
    the training text goes along.

    Args:
        model: the new one.
        source: the run whose model it was made of.
        path: the new run's folder.
        made: what was done, a line for the checkpoint's record.
        moments: those of the optimiser (`moments.carried_moments`), with which it goes on; None: it starts afresh.
        int8: whether the weights are stored in 8 bits (`inn.runs.eight`).
        corpus: what the new run calls its text or data; None: what the source does.

    Raises `InputError` where `path` exists or cannot be written. Nothing is left half-written.
    """
    own = Run(path_of(source))
    Run.check_free(path)
    config = own.config()
    data = replace(config.data, corpus=corpus or config.data.corpus)
    config = replace(config, model=model.config, data=data, train=replace(config.train, start=None))
    vocabulary = own.vocabulary()
    tensors, aliases = checkpoints.pack_model(model)
    tensors = narrowed(tensors) if int8 else tensors
    run = Run.create(path, config, vocabulary)
    try:
        carry(own.path, run.path)
        meta = {"aliases": aliases, "made": made, **ties(config, vocabulary)}
        if moments:
            meta[checkpoints.GOES_ON] = int(max(t for name, t in moments.items() if name.endswith("/step")))
        checkpoints.save(
            run.checkpoints, checkpoints.Checkpoint(0, {"model": tensors, "optimizer": dict(moments or {})}, meta)
        )
        if model.experience is not None:
            run.write_experience(experience_bytes(model.experience))
    except BaseException:
        remove_folder(run.path)
        raise
    return run


def moments_of(run: Run) -> Moments:
    """What the optimiser of a run knew at the checkpoint that `inn.load` takes."""
    train = run.config().train
    tensors = checkpoints.load(checkpoint_of(run), parts=["optimizer"]).tensors["optimizer"]
    return Moments(tensors, (train.beta1, train.beta2))


def measured(model: SequenceModel, run: str | Path | Run, symbols: int) -> dict[str, Any]:
    """What a table before and after has of a model: sizes, FLOPs per symbol, and bits on the run's validation text.

    Args:
        model: the run's, or one made of it.
        run: where the text is.
        symbols: how many of the first symbols are scored (of a task, sequences); 0: none.

    `bits` is None where nothing is scored, and `unscored` says why where the text cannot be had.
    """
    config = config_of(model)
    found: dict[str, Any] = {
        "neurons": config.neurons,
        "rounds": config.rounds,
        "memory": ", ".join(dict.fromkeys(group.memory.kind for group in config.groups)),
        "topology": config.topology.kind,
        "parameters": model.num_parameters,
        "flops_per_symbol": sum(model.flops().values()),
        "bits": None,
    }
    if not symbols:
        return found
    try:
        dataset = load_data(run)
        if isinstance(dataset, TaskData):
            examples = dataset.examples("valid")
            few = examples.take(np.arange(min(symbols, len(examples))))
            return found | {"bits": evaluate_examples(model, few).bits}
        return found | {"bits": evaluate(model, dataset.split("valid")[:symbols]).bits}
    except InputError as error:
        return found | {"unscored": str(error)}
