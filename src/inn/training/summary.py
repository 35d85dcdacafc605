"""What a run came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from inn.config.run import RunConfig
from inn.data.dataset import Dataset
from inn.data.task_data import TaskData
from inn.models.sequence import SequenceModel
from inn.runs.card import without_folder
from inn.system import provenance
from inn.training.state import TrainState


def summarize(
    config: RunConfig, dataset: Dataset, model: SequenceModel, device: torch.device, state: TrainState
) -> dict[str, Any]:
    """What a run came to, with all that is needed to trace it: JSON-able, no host names and no absolute paths."""
    settings = config.to_dict()
    settings["data"]["corpus"] = without_folder(config.data.corpus)
    for section, name in (("data", "tokenizer"), ("train", "start")):
        if settings[section][name]:
            settings[section][name] = Path(settings[section][name]).name
    return {
        "step": state.step,
        "symbols": state.symbols,
        "validation": state.validation,
        "best": state.best,
        "metric": dataset.vocabulary.metric,
        **({"measure": dataset.task.metric} if isinstance(dataset, TaskData) else {}),
        "floors": state.floors.get("valid"),
        "parameters": model.num_parameters,
        "parameters_by_part": model.parameters_by_part(),
        "flops": model.flops(),
        "training_flops": model.training_flops,
        "seconds": state.seconds,
        "training_seconds": state.training_seconds,
        "symbols_per_s": state.symbols / state.training_seconds if state.training_seconds else None,
        **provenance.peak_memory(device),
        "config": settings,
        "data": {"name": without_folder(dataset.name), "sha256": dataset.sha256, "splits": dataset.split_sizes},
        "device": str(device),
        "hardware": provenance.hardware(device),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
