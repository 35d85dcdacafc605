"""From a run directory back to a model."""

from __future__ import annotations

import re
from pathlib import Path

from inn.errors import InputError
from inn.exported import is_exported, load_exported
from inn.models import build_model
from inn.sequence import SequenceModel
from inn.training import checkpoint as checkpoints
from inn.training.run import Run


def load(path: str | Path) -> SequenceModel:
    """Return the model of a run, on the CPU, in evaluation mode, its `vocabulary` set, and what it can recall.

    Args:
        path: a run directory: its best checkpoint by validation is taken, else its newest. Or the directory of one
            checkpoint in it, `RUN/checkpoints/step-...`. Or a folder that `inn export` wrote, or the name of one on
            the Hugging Face Hub, `owner/name`, where there is no such path here.

    Raises `InputError` when there is no run, no checkpoint, or the checkpoint is damaged or another model's.

    Example: ``model = inn.load("runs/demo")``
    """
    name, path = str(path), Path(path)
    if not path.exists() and _ON_HUB.fullmatch(name):
        path = _from_hub(name)
    if is_exported(path):
        return load_exported(path)
    one = path.parent.name == "checkpoints" and (path / "checkpoint.json").is_file()
    run = Run(path.parent.parent if one else path)
    chosen = path if one else _choose(run)
    checkpoint = checkpoints.load(chosen, parts=["model"])
    model = build_model(run.config().model)
    checkpoints.unpack_model(model, checkpoint, chosen)
    model.vocabulary = run.vocabulary()
    model.experience = run.experience()
    return model.eval()


_ON_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def _from_hub(name: str) -> Path:
    """A local copy of an exported folder on the Hub; raises `InputError` where there is none to be had."""
    missing = f"'{name}' is not a run: it does not exist; give the directory of an `inn train`"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(
            f"{missing}, or `pip install 'inn-torch[hf]'` to look for it on the Hugging Face Hub"
        ) from None
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split()).split(". ")[0]
        raise InputError(f"{missing}, and the Hugging Face Hub did not give it either ({reason})") from error


def _choose(run: Run) -> Path:
    if best := checkpoints.best(run.checkpoints):
        return best
    steps = checkpoints.steps(run.checkpoints)
    if not steps:
        raise InputError(f"run '{run.path}' has no checkpoint yet; go on with it by `inn train --resume {run.path}`")
    return run.checkpoints / checkpoints.name_of(steps[-1])
