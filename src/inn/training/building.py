"""What a run is made of before its first step: its settings and directory, its data, its weights."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import torch

from inn.config.run import RunConfig
from inn.config.sections import SECTIONS
from inn.config.sizes import decided, with_sizes
from inn.data.dataset import Dataset
from inn.data.names import Channels, Names
from inn.data.prepare import prepare
from inn.data.task_data import TaskData
from inn.models.sequence import SequenceModel
from inn.nn.graph import Graph
from inn.nn.starting import matrices
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.runs.load import checkpoint_of, load
from inn.runs.ties import check_ties
from inn.system.errors import InputError
from inn.training.parallel.group import SINGLE_PROCESS, Group


def open_run(config: RunConfig | None, run_dir: str | os.PathLike[str], resume: bool) -> tuple[Run | None, RunConfig]:
    """The run to resume, None for a new one, and its settings; raises `InputError` where they do not fit together."""
    if not resume:
        if config is None:
            raise InputError("a new run needs a configuration; name a recipe")
        Run.check_free(run_dir)
        return None, config
    run = Run(run_dir)
    if run.path != Path(run_dir):
        raise InputError(
            f"'{run_dir}' is a trained model of a package and stays as it is; start a run with its weights by "
            f"`inn train --from {run_dir} --run DIR`"
        )
    stored = run.config()
    if steps := checkpoints.steps(run.checkpoints):
        with contextlib.suppress(checkpoints.DamagedCheckpoint):  # another one may yet be whole
            newest = run.checkpoints / checkpoints.name_of(steps[-1])
            check_ties(run, newest, checkpoints.record(newest), SECTIONS)
    if config is not None:
        given, kept = config.to_dict(), stored.to_dict()
        for name in decided(given["model"]):
            given["model"][name] = kept["model"].get(name)
        for section, values in given.items():
            for name, value in sorted(values.items(), key=lambda item: item[0] != "kind"):
                if kept[section].get(name) != value:
                    raise InputError(
                        f"run '{run_dir}' was started with {section}.{name} {kept[section].get(name)}, not {value}; "
                        "a resumed run keeps its settings, start another by --run"
                    )
    return run, stored


def check_accumulate(config: RunConfig, group: Group = SINGLE_PROCESS) -> None:
    """Raise `InputError` where a process has fewer rows of a batch than backward passes."""
    rows = group.rows(config.data.batch)
    if config.train.accumulate > rows.stop - rows.start:
        whose = f", shared by {group.world} processes" if group.world > 1 else ""
        raise InputError(
            f"accumulate {config.train.accumulate} is more than the rows of a batch ({config.data.batch}{whose}); "
            "choose at most the batch"
        )


def prepare_data(config: RunConfig, run: Run | None) -> Dataset:
    """The data of a run; raises `InputError` where there is nothing to learn from, or nothing to validate on."""
    dataset = prepare(config.data, run and run.given_vocabulary())
    for part in ("train", "valid"):
        dataset.split(part)
    return dataset


def fitted(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The settings with the model's sizes as the data has them."""
    sizes = with_sizes(vars(config.model), dataset.sizes)
    return replace(config, model=replace(config.model, **{name: sizes[name] for name in dataset.sizes}))


def standardise(model: SequenceModel, dataset: Dataset) -> None:
    """Let a fresh model of signals know the means and scales of the training part."""
    if hasattr(model, "standardise") and isinstance(dataset, TaskData):
        examples = dataset.examples("train")
        model.standardise(  # type: ignore[operator]
            examples.inputs, examples.targets if examples.targets.ndim == 2 else None
        )


def load_start(start: str, model: SequenceModel) -> None:
    """Give a fresh model the weights of a run; raises `InputError` where they are of another model or other symbols."""
    source = load(start)
    if source.vocabulary != model.vocabulary:
        fits = isinstance(model.vocabulary, Names | Channels) or isinstance(source.vocabulary, Names | Channels)
        remedy = (
            "start from a run on this task"
            if fits
            else (f"set data.tokenizer {start}, and the data is read in its symbols")
        )
        raise InputError(
            f"run '{start}' reads other symbols ({source.vocabulary}) than this data has ({model.vocabulary}); {remedy}"
        )
    try:
        model.load_state_dict(source.state_dict())
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise InputError(f"the weights of run '{start}' do not fit the model of these settings: {problem}") from error


def moments_of(start: str) -> dict[str, torch.Tensor]:
    """The moments that a run keeps of the one that it was made of (`inn keep`, ...), with which an optimiser goes on.

    Of any other run training starts with the weights alone: its optimiser came to its end there.
    """
    path = Path(start)
    one = path.parent.name == "checkpoints"
    if not one and not (path / "config.yaml").is_file():
        return {}
    path = path if one else checkpoint_of(Run(path))
    if checkpoints.GOES_ON not in checkpoints.record(path):
        return {}
    return checkpoints.load(path, parts=["optimizer"]).tensors["optimizer"]


def check_counted(config: RunConfig) -> None:
    """Raise `InputError` for settings that do nothing with a model that counts, and is not trained step by step."""
    what, train = f"a model of kind '{config.model.kind}'", config.train
    if train.objective.kind != "predict":
        raise InputError(
            f"{what} is fitted by counting and has no objective '{train.objective.kind}'; leave train.objective out"
        )
    if train.ema or train.optimizer != "adamw":
        option = "ema" if train.ema else "optimizer"
        raise InputError(f"{what} is fitted by counting and takes no steps; leave train.{option} out")
    if not config.data.text:
        raise InputError(
            f"{what} counts what follows what in a text, and '{config.data.corpus}' is none; set another model.kind"
        )


def optimizer_of(start: str) -> str:
    """The optimiser of a run, or of the run of a checkpoint."""
    path = Path(start)
    return Run(path.parent.parent if path.parent.name == "checkpoints" else path).config().train.optimizer


def check_optimizer(config: RunConfig, model: SequenceModel, sharded: bool) -> None:
    """Raise `InputError` where Muon has no matrices to turn, and where they, or averages, would lie in pieces."""
    muon = config.train.optimizer == "muon"
    if sharded and (muon or config.train.ema):
        what = "optimizer 'muon'" if muon else "train.ema"
        raise InputError(f"{what} needs whole weights in every process; set train.parallel ddp")
    if muon and not matrices(model):
        raise InputError(
            f"optimizer 'muon' turns the matrices of rounds or layers, and a model of kind '{config.model.kind}' keeps "
            "none as such; set train.optimizer adamw"
        )


def checkpoint_rounds(model: SequenceModel) -> None:
    """Recompute the rounds of a model's graph in the backward pass; raises `InputError` for a model without one."""
    graphs = [m for m in model.modules() if isinstance(m, Graph)]
    if not graphs:
        raise InputError(
            f"a model of kind '{model.config.kind}' has no rounds to recompute; leave checkpoint_rounds out"
        )
    for graph in graphs:
        graph.checkpoint_rounds = True
