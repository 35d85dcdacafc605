"""The trials of a study: which count, and which stand in for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports]


def origin(trial: optuna.trial.FrozenTrial) -> int:
    """The number of the trial, or of the first one that it stands in for."""
    return trial.system_attrs.get("failed_trial", trial.number)


def counted(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that were begun, without those that others stand in for."""
    trials = study.get_trials(deepcopy=False)
    replaced = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    return [t for t in trials if t.state.name != "WAITING" and t.number not in replaced]
