"""The export `small`: a run again, its weights in 8 bits, that a package can bring by name (`inn.runs.trained`)."""

from __future__ import annotations

from pathlib import Path

from inn.config.exports import SmallOptions
from inn.models.sequence import SequenceModel
from inn.nn.recall.base import Recall
from inn.nn.state import State
from inn.runs.card import CARD, SMALL, card_rows, filled, without_folder
from inn.runs.checkpoint import describe
from inn.runs.directory import Run
from inn.runs.exported import EXPERIENCE, PRIVATE
from inn.surgery.runs import write_run


class Small:
    """A run of the best checkpoint alone, its weights in 8 bits; of what it recalls, the entries that proved right.

    Example: ``inn.export.export("runs/demo", "small", to="small")``
    """

    def __init__(self, options: SmallOptions) -> None:
        self.options = options

    def write(self, model: SequenceModel, folder: Path, home: Path) -> list[str]:
        source = Run(home)
        model.experience = recalled(model, self.options.experience)
        corpus = without_folder(source.config().data.corpus)
        run = write_run(model, source, folder, "stored in 8 bits", int8=True, corpus=corpus)
        _tell(source, run)
        (folder / CARD).write_text(filled(SMALL, model, card_rows(model, run)), encoding="utf-8")
        said = ["whatever takes a run takes this folder; `inn train --from` starts with it"]
        if model.experience is not None:
            said.append(f"{EXPERIENCE} {PRIVATE}")
        return said


def recalled(model: SequenceModel, which: str) -> State | None:
    """What goes along of a model's experience: `all` of it, the entries that were right last (`proven`), or `none`.

    Raises `InputError` where its recall does not know which were.
    """
    state, recall = model.experience, getattr(model, "recall", None)
    if state is None or which == "none":
        return None
    if which == "all":
        return state
    assert isinstance(recall, Recall)
    parts = recall.proven({part: t for (r, part), t in state.items() if r == -1})
    return State({(r, part): parts[part] if r == -1 else t for (r, part), t in state.items()})


def _tell(source: Run, run: Run) -> None:
    """Let the new run tell what the source came to: its summary, and its validations."""
    for line in source.metrics():
        if line.get("event") == "validation":
            run.log(**line)
    summary = {name: value for name, value in (source.summary() or {}).items() if name != "experience"}
    if (path := run.path / EXPERIENCE).is_file():
        summary["experience"] = describe(path)
    if summary:
        run.write_summary(summary)
