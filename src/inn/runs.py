"""From a run directory back to a model."""

from __future__ import annotations

from pathlib import Path

from inn.errors import InputError
from inn.models import build_model
from inn.sequence import SequenceModel
from inn.training import checkpoint as checkpoints
from inn.training.run import Run


def load(path: str | Path) -> SequenceModel:
    """Return the model of a run, on the CPU, in evaluation mode, its `vocabulary` set, and what it can recall.

    Args:
        path: a run directory: its best checkpoint by validation is taken, else its newest. Or the directory of one
            checkpoint in it, `RUN/checkpoints/step-...`.

    Raises `InputError` when there is no run, no checkpoint, or the checkpoint is damaged or another model's.

    Example: ``model = inn.load("runs/demo")``
    """
    path = Path(path)
    one = path.parent.name == "checkpoints" and (path / "checkpoint.json").is_file()
    run = Run(path.parent.parent if one else path)
    chosen = path if one else _choose(run)
    checkpoint = checkpoints.load(chosen, parts=["model"])
    model = build_model(run.config().model)
    checkpoints.unpack_model(model, checkpoint, chosen)
    model.vocabulary = run.vocabulary()
    model.experience = run.experience()
    return model.eval()


def _choose(run: Run) -> Path:
    if best := checkpoints.best(run.checkpoints):
        return best
    steps = checkpoints.steps(run.checkpoints)
    if not steps:
        raise InputError(f"run '{run.path}' has no checkpoint yet; go on with it by `inn train --resume {run.path}`")
    return run.checkpoints / checkpoints.name_of(steps[-1])
