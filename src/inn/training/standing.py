"""How far a run has come, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from inn.config.run import RunConfig
from inn.models.sequence import SequenceModel
from inn.system import provenance

if TYPE_CHECKING:
    from inn.data.prepare import Dataset


@dataclass
class Tally:
    """What happened since the last log line; part of a checkpoint, so that a resumed run logs the same line."""

    nats: float = 0.0
    """Sum of the loss over symbols."""
    penalty: float = 0.0
    """Sum of the penalty over symbols."""
    symbols: int = 0
    seconds: float = 0.0


@dataclass
class Standing:
    """How far a run has come: the JSON-able part of what a resumed run needs."""

    step: int = 0
    symbols: int = 0
    seconds: float = 0.0
    """Wall-clock seconds of all sittings, up to their last checkpoint."""
    training_seconds: float = 0.0
    """Of these, seconds in training steps."""
    tally: Tally = field(default_factory=Tally)
    validation: dict[str, Any] | None = None
    """The last validation."""
    best: dict[str, Any] | None = None
    """The best validation."""
    warned: list[str] = field(default_factory=list)
    """Warnings that are given once."""
    floors: dict[str, dict[str, float]] = field(default_factory=dict)
    """Bits by name, of the `valid` and the `train` text."""

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Standing:
        return cls(**{**tree, "tally": Tally(**tree["tally"])})


def summarize(
    config: RunConfig, dataset: Dataset, model: SequenceModel, device: torch.device, now: Standing
) -> dict[str, Any]:
    """What a run came to, with all that is needed to trace it: JSON-able, no host names and no absolute paths."""
    settings = config.to_dict()
    settings["data"]["corpus"] = without_folder(config.data.corpus)
    for section, name in (("data", "tokenizer"), ("train", "start")):
        if settings[section][name]:
            settings[section][name] = Path(settings[section][name]).name
    return {
        "step": now.step,
        "symbols": now.symbols,
        "validation": now.validation,
        "best": now.best,
        "metric": dataset.vocabulary.metric,
        "floors": now.floors.get("valid"),
        "parameters": model.num_parameters,
        "parameters_by_part": model.parameters_by_part(),
        "flops": model.flops(),
        "training_flops": model.training_flops,
        "seconds": now.seconds,
        "training_seconds": now.training_seconds,
        "symbols_per_s": now.symbols / now.training_seconds if now.training_seconds else None,
        **provenance.peak_memory(device),
        "config": settings,
        "data": {"name": without_folder(dataset.name), "sha256": dataset.sha256, "splits": dataset.split_sizes},
        "device": str(device),
        "hardware": provenance.hardware(device),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def without_folder(corpus: str) -> str:
    """A corpus's name, of a path only the last part: the rest means nothing on another machine.

    >>> without_folder("file:/somewhere/notes.txt")
    'file:notes.txt'
    """
    kind, colon, path = corpus.partition(":")
    return f"{kind}:{Path(path).name}" if colon else corpus
