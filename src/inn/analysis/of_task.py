"""What a survey says of a task, where a text has letters: classes by name, steps as they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from inn.analysis.measures.contexts import Context
from inn.analysis.recording.sequences import Sequences, sequences
from inn.analysis.recording.stretches import Stretches, counted, stretches
from inn.data.base import Vocabulary
from inn.data.dataset import Dataset
from inn.data.names import Channels
from inn.data.task_data import TaskData
from inn.data.view import step_text

CLASSES, AROUND = 12, 1
"""Names of a task that are classes, at most; steps of a signal that are shown before and after one."""


def rows_of(dataset: Dataset, split: str, symbols: int, device: torch.device) -> Stretches | Sequences:
    """What is looked at of a part: stretches of a text, or sequences of a task."""
    if isinstance(dataset, TaskData):
        return sequences(dataset.examples(split), symbols, device=device)
    return stretches(dataset.split(split), symbols, device=device)


def of_task(dataset: TaskData, text: Sequences) -> dict[str, Any]:
    """What is said beside of a task: how many targets count, what is left out and why."""
    vocabulary, notes = dataset.vocabulary, []
    if isinstance(vocabulary, Channels):
        notes.append("a signal has no symbols: what each neuron would predict alone is left out")
        if not vocabulary.classes:
            notes.append("numbers are told and no classes: what a neuron tells about a class is left out")
    return {"task": True, "targets": int(counted(text.targets).sum()), "notes": notes}


def classes_of(text: Sequences, vocabulary: Vocabulary) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Classes of a task: the symbol that is read, and after an arrow the next target that counts."""
    read: dict[str, np.ndarray] = {}
    if not isinstance(vocabulary, Channels):
        read = _named(text.inputs.cpu().numpy(), vocabulary, "")
    if text.targets.ndim == 3:
        return read, {}
    here = text.targets.cpu().numpy()
    return {**read, **_named(text.coming(), vocabulary, "→ ")}, _named(here, vocabulary, "→ ")


def _named(symbols: np.ndarray, vocabulary: Vocabulary, mark: str) -> dict[str, np.ndarray]:
    """The commonest symbols as classes, `[K x T]` bool each; one of two says all."""
    ids, counts = np.unique(symbols[symbols >= 0], return_counts=True)
    chosen = ids[np.argsort(-counts, kind="stable")][:CLASSES]
    flat = symbols.ravel()
    found = {f"{mark}{vocabulary.symbol(int(i))}": flat == i for i in np.sort(chosen)}
    return {name: of for name, of in found.items() if of.any() and not of.all()}


def shown_step(text: Sequences, vocabulary: Vocabulary, context: Context) -> dict[str, Any]:
    """A step of a sequence as text, with those around it; of a signal with few."""
    around = AROUND if isinstance(vocabulary, Channels) else len(context.symbols)
    given = {int(place): text.inputs.flatten(0, 1)[i].cpu().numpy() for i, place in _where(text, context)}
    said = [step_text(given[place], vocabulary) for place in context.symbols]
    before = said[max(0, context.place - around) : context.place]
    after = said[context.place + 1 : context.place + 1 + around]
    mark = "  |  " if isinstance(vocabulary, Channels) else " "
    return {
        "before": mark.join([*before, ""]), "symbol": said[context.place], "after": mark.join(["", *after]),
        "activity": context.activity, "at": context.at,
    }  # fmt: skip


def _where(text: Sequences, context: Context) -> Iterator[tuple[int, int]]:
    """Where among the rows the places of a context stand."""
    places = text.places.flatten().cpu().numpy()
    for place in context.symbols:
        yield int(np.flatnonzero(places == place)[0]), place
