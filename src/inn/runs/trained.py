"""Trained models by name: where the runs are that installed packages bring.

A package brings a run by an entry point that is its folder's path:

    [project.entry-points."inn.trained"]
    text8 = "inn_models:text8"

`inn generate text8` then opens it wherever no folder of that name is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from inn.registry import TRAINED
from inn.system.errors import InputError, nearest

_OURS: dict[str, str] = dict.fromkeys(("text8", "logs", "digits"), "inn-models")
"""Trained models of this project and the distribution that brings them, so that one that is missing can be named."""

P = TypeVar("P", bound=str | os.PathLike[str])


def located(run: P) -> P | str:
    """Where a run is: its path as it was given, or that of the trained model of this name where nothing is there.

    Raises `InputError` for an entry of a package that is not the path of a folder.

    >>> located("no-such-run")
    'no-such-run'
    """
    name = os.fspath(run)
    if not isinstance(name, str) or Path(name).exists() or name not in TRAINED:
        return run
    place = TRAINED[name]
    if not isinstance(place, str | os.PathLike) or not Path(place).is_dir():
        raise InputError(f"trained model '{name}' of {TRAINED.origin(name)} is not the path of a folder; reinstall it")
    return os.fspath(place)


def hint(name: str) -> str:
    """What a name that is no run may have meant, to end a sentence with; nothing for a path.

    >>> hint("runs/text8")
    ''
    """
    if package := _OURS.get(name):
        return f"; the trained model '{name}' comes with {package}, which is not installed here: pip install {package}"
    meant = nearest(name, TRAINED)
    return meant if len(Path(name).parts) == 1 and "did you mean" in meant else ""
