"""A survey of a run on a text: from its directory to plain data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.analysis.comparison.beside import beside
from inn.analysis.controls.untrained import untrained
from inn.analysis.mechanisms.subnetwork import subnetwork
from inn.analysis.mechanisms.targets import TARGETS
from inn.analysis.of_task import rows_of
from inn.analysis.overview import survey
from inn.analysis.recording.stretches import SYMBOLS, Neurons
from inn.analysis.stability.measure import stability
from inn.data.dataset import Dataset
from inn.data.task_data import TaskData
from inn.nn.modes import as_tokens, device_of
from inn.runs.directory import Run
from inn.runs.load import load, load_with_data, path_of
from inn.system.device import resolve_device
from inn.system.errors import InputError, lookup
from inn.system.report import Report, nobody

COUNTED = 1_000_000
"""Symbols of a part that a target is counted in, at most."""
BLOCKS, BLOCK = 8, 256
"""Blocks of text that stability is measured on, and their symbols."""


def survey_run(
    run: str | Path | Run,
    split: str | None = None,
    *,
    corpus: str | None = None,
    unknown: str = "error",
    symbols: int = SYMBOLS,
    other: str | Path | Run | None = None,
    steadiness: bool = False,
    part: str | None = None,
    seed: int = 0,
    device: str = "auto",
    report: Report = nobody,
) -> dict[str, Any]:
    """Look into a run: what its neurons do, carry and cause on a text; see `inn.analysis.overview.survey`.

    Args:
        run: a run of a graph of neurons, or its directory.
        split: the part to read: `valid` of the run's own corpus when None, all (`whole`) of another.
        corpus: another text to read, a corpus by name or `file:PATH`.
        unknown: symbols of another text that the run does not know: `error` or `skip`.
        symbols: how many to look at, spread evenly over the part.
        other: another run of the same symbols, to find the counterparts of these neurons in (`beside` of the result).
        steadiness: also how a push fades over symbols and rounds (`stability` of the result).
        part: also the few weights that tell a target by themselves, `bigram`: what follows each symbol of the part
            that is read (`subnetwork` of the result).
        seed: of shuffled controls and sampled orders.
        device: `auto`, `cpu`, `cuda` (or `cuda:1`, ...) or `mps`.
        report: told of what is fetched, encoded and looked at.

    Raises `InputError` for runs without neurons, that read different symbols, or whose text is not to be had.

    Example: ``survey_run("runs/demo")["cards"][3]["lesion"]``
    """
    where = resolve_device(device)
    asked = None if part is None else lookup("target of a subnetwork", part, TARGETS)
    split = split or ("valid" if corpus is None else "whole")
    model, dataset = load_with_data(run, corpus, unknown=unknown, report=report)
    if asked is not None and isinstance(dataset, TaskData):
        raise InputError(f"a {part} is counted in a text, and run '{path_of(run)}' reads a task; give a run of a text")
    model.to(where)
    counterpart = None if other is None else _of_the_same_symbols(other, dataset).to(where)
    looking = partial(report, "looking inside")
    name = str(path_of(run))
    facts = survey(model, dataset, split=split, symbols=symbols, seed=seed, run=name, report=looking)
    assert isinstance(model, Neurons)  # the survey has refused others
    if counterpart is not None:
        cut = rows_of(dataset, split, symbols, device_of(model))
        control = beside(untrained(model, seed=0), untrained(counterpart, seed=1), cut, seed)
        found = beside(model, counterpart, cut, seed)
        facts["beside"] = {"run": str(path_of(other)), **found, "untrained": control}  # type: ignore[arg-type]
    if steadiness:
        facts["stability"] = stability(model, blocks_of(dataset, split, device_of(model)), seed=seed)
    if asked is not None:
        target = asked(dataset.split(split)[:COUNTED], dataset.vocabulary.size)
        facts["subnetwork"] = subnetwork(model, target=target, seed=seed, report=report).to_dict()
    return facts


def _of_the_same_symbols(run: str | Path | Run, dataset: Dataset) -> Neurons:
    """The model of another run that reads the same symbols."""
    model = load(run)
    if not isinstance(model, Neurons):
        raise InputError(f"run '{path_of(run)}' has no neurons to set beside; give a run of kind 'inn'")
    if model.vocabulary != dataset.vocabulary:
        raise InputError(f"run '{path_of(run)}' reads other symbols; give a run of the same corpus and vocabulary")
    return model


def blocks_of(dataset: Dataset, split: str, device: torch.device, blocks: int = BLOCKS, length: int = BLOCK) -> Tensor:
    """Blocks of a part that stability is measured on, `[blocks, T]` or `[blocks, T, F]`: of a task, its sequences.

    Raises `InputError` where the sequences are too short.
    """
    if not isinstance(dataset, TaskData):
        return as_tokens(_spread(dataset.split(split)), device)
    examples = dataset.examples(split)
    longest = np.argsort(-examples.lengths, kind="stable")[:blocks]
    steps = min(length, int(examples.lengths[longest].min()))
    rows = [examples.inputs[at : at + steps] for at in examples.starts[np.sort(longest)].tolist()]
    return torch.from_numpy(np.stack(rows)).to(device)


def _spread(text: np.ndarray) -> np.ndarray:
    """Blocks spread evenly over a text, `[BLOCKS, BLOCK]`; shorter ones of a shorter text."""
    length = min(BLOCK, len(text))
    starts = np.linspace(0, len(text) - length, BLOCKS).astype(int)
    return np.stack([text[at : at + length] for at in starts])
