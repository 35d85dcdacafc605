"""How far a run has come: the JSON-able part of what a resumed run needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inn.training.objectives.base import StepResult


@dataclass
class Sums:
    """Sums since the last log line; part of a checkpoint, so that a resumed run logs the same line."""

    nats: float = 0.0
    """Sum of the loss over symbols."""
    penalty: float = 0.0
    """Sum of the penalty over symbols."""
    symbols: int = 0
    seconds: float = 0.0
    named: dict[str, float] = field(default_factory=dict)
    """Sums over symbols of what a step names: `penalty.NAME`, `objective.NAME`."""

    def add(self, step: StepResult, symbols: int, seconds: float) -> None:
        """Count a step that took so many seconds for so many symbols."""
        self.nats += step.loss * symbols
        self.penalty += step.penalty * symbols
        for name, value in step.named().items():
            self.named[name] = self.named.get(name, 0.0) + value * symbols
        self.symbols += symbols
        self.seconds += seconds


@dataclass
class TrainState:
    """How far a run has come."""

    step: int = 0
    symbols: int = 0
    seconds: float = 0.0
    """Wall-clock seconds of all sittings, up to their last checkpoint."""
    training_seconds: float = 0.0
    """Of these, seconds in training steps."""
    tally: Sums = field(default_factory=Sums)
    validation: dict[str, Any] | None = None
    """The last validation."""
    best: dict[str, Any] | None = None
    """The best validation."""
    warned: list[str] = field(default_factory=list)
    """Warnings that are given once."""
    floors: dict[str, dict[str, float]] = field(default_factory=dict)
    """Bits by name, of the `valid` and the `train` text."""

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Go back to what `dataclasses.asdict` gave."""
        vars(self).update(vars(TrainState(**{**tree, "tally": Sums(**tree["tally"])})))
