"""What an export is, and how one is written: wholly or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from inn.config.parts import settled
from inn.models.sequence import SequenceModel
from inn.registry import EXPORTS
from inn.runs.exported import home_of
from inn.runs.load import load
from inn.system.errors import InputError
from inn.system.files import new_folder


class Export(Protocol):
    """A form that a trained model can be written in. A kind is made with its options; it writes and keeps nothing."""

    def __init__(self, options: Any) -> None:
        """Raises `InputError` where a package that this form needs is not installed."""
        ...

    def write(self, model: SequenceModel, folder: Path, home: Path) -> list[str]:
        """Write a model of any kind into an empty folder.

        Args:
            model: on the CPU, in evaluation mode, with its vocabulary and what it has recalled.
            folder: it is there and empty, and is thrown away where this raises.
            home: the run, or the exported folder, that the model comes from, for its summary and sidecars.

        Returns sentences for the person who exports: how the folder is used, what was left out and why.

        Raises `InputError`, which names the part and the remedy, for what this form cannot express.
        """
        ...


def export(run: str | Path, folder: str | Path, to: str = "hf", **options: Any) -> list[str]:
    """Write a run's best checkpoint in the form of another program, wholly or not at all; returns what is to be said.

    Args:
        run: a run directory, or one checkpoint in it (`RUN/checkpoints/step-...`).
        folder: a new folder, or an empty one.
        to: a kind of `inn.registry.EXPORTS`; `options` are its own.

    Raises `InputError` where the run cannot be loaded, has a part that this form cannot express, or where the folder
    holds something already.

    Example: ``export("runs/demo", "exported", to="hf")``
    """
    chosen = settled("to", EXPORTS, {"kind": to, **options})
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"'{folder}' exists already and is not empty; give a new folder")
    form = EXPORTS[to](chosen)
    model = load(run)
    with new_folder(folder) as temporary:
        return form.write(model, temporary, home_of(run))
