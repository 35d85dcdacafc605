"""What is heard of a sweep while it runs: each trial of its run, people of each trial that has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from inn.sweep.search import WHOLE, load_optuna
from inn.sweep.trials import counted
from inn.training.events import Event, Started, Validated

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports]


class Follow:
    """Reports the validations of a run to its trial, and ends it where the pruner says so."""

    def __init__(self, trial: optuna.Trial):
        self.trial, self.steps = trial, 0
        self.known = set(trial.study.trials[trial.number].intermediate_values)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.steps = event.steps
            self.trial.set_user_attr("metric", event.metric)
            self.trial.set_user_attr("parameters", event.parameters)
        if isinstance(event, Validated) and event.step < self.steps:
            at = round(WHOLE * event.step / self.steps)
            if at not in self.known:  # a run that is gone on with repeats what came after its checkpoint
                self.trial.report(event.bits, at)
            if self.trial.should_prune():
                raise load_optuna("a sweep").TrialPruned


class News:
    """Tells of each trial that has ended, once."""

    def __init__(self, study: optuna.Study, report: Callable[[optuna.trial.FrozenTrial], None]):
        self.study, self.report = study, report
        self.told = {trial.number for trial in study.trials if trial.state.is_finished()}

    def tell(self) -> None:
        for trial in counted(self.study):
            if trial.state.is_finished() and trial.number not in self.told:
                self.told.add(trial.number)
                self.report(trial)
