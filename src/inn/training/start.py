"""From a recipe to a trained model in one call: what `inn train` does, as a function."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inn.config.run import RunConfig
from inn.config.settings import Settings, resolve, resolve_tree
from inn.config.sizes import decided
from inn.config.typed import typed
from inn.data.names import sizes_of
from inn.data.prepare import prepare
from inn.models.size import sized
from inn.runs.directory import Run
from inn.system.device import resolve_device
from inn.system.errors import InputError
from inn.training import events
from inn.training.trainer import fit

Fields = Mapping[str, Any]


@typed
def train(
    recipe: str | os.PathLike[str] | RunConfig | Settings | None,
    run: str | os.PathLike[str],
    *,
    model: Fields | None = None,
    data: Fields | None = None,
    train: Fields | None = None,
    resume: bool = False,
    report: events.EventHandler | None = None,
) -> Run:
    """Train a model as a recipe says and return its run.

    Args:
        recipe: a recipe by name, a YAML file, or settings; None on resume, where the run has its own.
        run: the directory that the run is written into; on resume, the run itself will do.
        model, data, train: what is to be other than in the recipe, by field. A part's kind and its options may be given
            together: `model={"memory": {"kind": "mamba", "state": 8}}`.
        resume: where the run is there already, go on from its newest good checkpoint under the settings it has; where
            it is not, start it.
        report: called with the events of `inn.training.events`.

    Raises `InputError` for settings, data and directories that will not do, before anything is written, and
    `TrainingDiverged`, which is one, when a number is no longer finite.

    Example: ``train("demo", "runs/mine", model={"neurons": 4}, train={"symbols": 100_000}).summary()["best"]["bits"]``
    """
    report = report or events.silent
    settings = _settings(recipe, overrides(model=model or {}, data=data or {}, train=train or {}))
    if resume and (settings is None or (Path(run) / "config.yaml").is_file()):
        known = None if settings is None else sized(settings, sizes_of(Run(run).vocabulary()))
        fit(known, run, resume=True, report=report)
        return Run(run)
    if settings is None:
        raise InputError("a new run needs a recipe, by name or as a YAML file, or settings")
    Run.check_free(run)  # before anything is downloaded
    resolve_device(settings.config.train.device)
    dataset = prepare(settings.config.data, report=lambda *progress: report(events.Preparing(0, *progress)))
    fit(sized(settings, dataset.sizes), run, report=report)
    return Run(run)


def overrides(**sections: Fields) -> list[str]:
    """Fields by section as the command line says them.

    >>> overrides(model={"memory": {"kind": "mamba", "state": 8}, "tied": False}, train={"start": None})
    ['--model.memory.kind=mamba', '--model.memory.state=8', '--model.tied=false', '--train.start=null']
    """
    return [f"--{name}={_word(value)}" for name, value in _flat(sections)]


def _flat(fields: Fields) -> list[tuple[str, Any]]:
    found = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found += [(f"{name}.{inner}", one) for inner, one in _flat(value)]
        else:
            found.append((name, value))
    return found


def _word(value: Any) -> str:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return json.dumps(value, default=str)


def _settings(recipe: str | os.PathLike[str] | RunConfig | Settings | None, given: list[str]) -> Settings | None:
    """The settings that a recipe and what was given over it come to; None for neither."""
    if isinstance(recipe, RunConfig):
        tree = recipe.to_dict()
        for name in decided(tree["model"]):
            if name != "head":  # which a person may have chosen
                tree["model"].pop(name)
        return resolve_tree(tree, given) if given else Settings(recipe, "", None)
    if given and (recipe is None or isinstance(recipe, Settings)):
        what = "settings that are resolved" if recipe else "a run to resume"
        raise InputError(f"{what} cannot be changed by '{given[0]}'; give a recipe, by name or as a YAML file")
    return recipe if recipe is None or isinstance(recipe, Settings) else resolve(os.fspath(recipe), given)
