"""From a run directory back to a model, and to the text that it was trained on."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from inn.config.typed import typed
from inn.data.dataset import Dataset
from inn.data.names import Channels, Names
from inn.data.prepare import encode_corpus, prepare
from inn.data.task_data import TaskData
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.runs.exported import EXPERIENCE, VOCABULARY, fitting_vocabulary, is_exported, load_exported, read_experience
from inn.runs.ties import check_ties
from inn.runs.trained import located
from inn.system.errors import InputError
from inn.system.packages import require
from inn.system.report import Report, nobody

HUB = "hf://"
"""What the name of a model on the Hugging Face Hub begins with."""


@typed
def load(path: str | Path | Run) -> SequenceModel:
    """Return the model of a run, on the CPU, in evaluation mode, its `vocabulary` set, and what it can recall.

    Args:
        path: a run, or its directory: its best checkpoint by validation is taken, else its newest. Or the directory of
            one checkpoint in it, `RUN/checkpoints/step-...`. Or a folder that `inn export` wrote, or `hf://OWNER/NAME`,
            one on the Hugging Face Hub. Or the name of a trained model that a package brings, `text8`, where no folder
            of that name is.

    Raises `InputError` when there is no run, no checkpoint, or the checkpoint is damaged or another model's.

    Example: ``model = inn.load("runs/demo")``
    """
    name = str(path_of(path))
    path = _from_hub(name.removeprefix(HUB)) if name.startswith(HUB) else Path(name)
    if is_exported(path):
        return load_exported(path)
    one = path.parent.name == "checkpoints" and (path / "checkpoint.json").is_file()
    run = Run(path.parent.parent if one else path)
    chosen = path if one else checkpoint_of(run)
    checkpoint = checkpoints.load(chosen, parts=["model"])
    check_ties(run, chosen, checkpoint.meta)
    model = build_model(run.model_config())
    checkpoints.unpack_model(model, checkpoint, chosen)
    model.vocabulary = fitting_vocabulary(model, run.path / VOCABULARY)
    model.experience = _experience(run, model)
    return model.eval()


@typed
def load_data(run: str | Path | Run, *, report: Report = nobody) -> Dataset:
    """Return the corpus that a run was trained on, in its symbols; see `inn.data.prepare.prepare`.

    Example: ``load_data("runs/demo").split("test")``
    """
    run = Run(path_of(run))
    return prepare(run.config().data, run.given_vocabulary(), report=report)


@typed
def load_with_data(
    run: str | Path | Run, corpus: str | None = None, *, unknown: str = "error", report: Report = nobody
) -> tuple[SequenceModel, Dataset]:
    """Return a run's model (see `load`) and a text in its symbols.

    Args:
        run: a run, or its directory.
        corpus: a corpus by name, or `file:PATH`; the one the run was trained on when None.
        unknown: symbols of another corpus that the run does not know: `error` or `skip`.
        report: told of what is fetched and encoded.

    Raises `InputError` as `load` and `prepare` do, and where the run's corpus is no longer the same text.

    Example: ``model, dataset = load_with_data("runs/demo")``
    """
    if corpus is not None:
        model = load(run)
        if model.vocabulary is None:
            raise InputError(f"run '{path_of(run)}' has no vocabulary to read another text with; leave out --corpus")
        if isinstance(model.vocabulary, Names | Channels):
            raise InputError(f"run '{path_of(run)}' was trained on a task and reads no text; leave out --corpus")
        return model, encode_corpus(corpus, model.vocabulary, unknown=unknown, report=report)
    own = Run(path_of(run))
    name = own.config().data.corpus
    model, dataset = load(own), load_data(own, report=report)
    known = checkpoints.record(checkpoint_of(own)).get("data_sha256")
    if known not in (None, dataset.sha256):
        what, else_ = ("text", ", or have it read as another text, file:PATH")
        if isinstance(dataset, TaskData):
            what, else_ = "data", ""
        raise InputError(
            f"the {what} of corpus '{name}' is not the one that run '{own.path}' was trained on (its sha256 differs); "
            f"restore it{else_}"
        )
    if model.vocabulary is not None and dataset.vocabulary != model.vocabulary:
        raise InputError(
            f"corpus '{name}' has other symbols here than the text that run '{own.path}' was trained on; "
            "restore that text, or train again"
        )
    return model, dataset


def check_writes(run: str | Path | Run) -> None:
    """Raise `InputError` for a run of a task that tells something else than the next symbol: it neither writes nor
    scores a text. Anything but a run is let through."""
    path = Path(path_of(run))
    path = path.parent.parent if path.parent.name == "checkpoints" else path
    if not (path / "config.yaml").is_file() or Run(path).config().data.text:
        return
    dataset = load_data(path)
    assert isinstance(dataset, TaskData)
    if not dataset.continues:
        raise InputError(
            f"run '{path_of(run)}' tells the targets of {dataset.name} and not what comes next, so there is no text "
            "that it could write or score; `inn eval` scores it"
        )


def path_of(run: str | Path | Run) -> str | Path:
    """Where a run is, however it was given: as a run, its directory, or the name of a trained model."""
    return run.path if isinstance(run, Run) else located(run)


def is_inn(path: Path) -> bool:
    """Whether there is a run, a checkpoint of one, or an exported folder; or a trained model of that name."""
    path = Path(located(path))
    return (path / "config.yaml").is_file() or path.parent.name == "checkpoints" or is_exported(path)


def _from_hub(name: str) -> Path:
    """A local copy of an exported folder on the Hub; raises `InputError` where there is none to be had."""
    library = require("huggingface_hub", f"'{HUB}{name}'", "hf")
    errors = require("huggingface_hub.errors", f"'{HUB}{name}'", "hf")
    refusals = (errors.HfHubHTTPError, errors.HFValidationError, errors.LocalEntryNotFoundError, OSError)
    try:
        path = Path(library.snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except refusals as error:
        reason = " ".join(str(error).split()).split(". ")[0]
        raise InputError(f"the Hugging Face Hub did not give '{name}': {reason}") from error
    if not is_exported(path):
        raise InputError(f"'{name}' on the Hugging Face Hub is not a model that `inn export` wrote")
    return path


def _experience(run: Run, model: SequenceModel) -> State | None:
    """What a run's model can recall, as it was when the run ended."""
    path, summary = run.path / EXPERIENCE, run.summary() or {}
    state = read_experience(path, model)
    if state is not None and summary.get("experience", known := checkpoints.describe(path)) != known:
        raise InputError(f"'{path}' is not what the run wrote (its sha256 differs); remove it to do without")
    return state


def checkpoint_of(run: Run) -> Path:
    """The checkpoint that `load` takes: the best by validation, else the newest; raises `InputError` for none."""
    checkpoints.best_step(run.checkpoints)  # which raises where nobody can tell
    if best := checkpoints.best(run.checkpoints):
        return best
    steps = checkpoints.steps(run.checkpoints)
    if not steps:
        named = quote(str(run.path))
        raise InputError(f"run '{run.path}' has no checkpoint yet; go on with it by `inn train --resume {named}`")
    return run.checkpoints / checkpoints.name_of(steps[-1])
