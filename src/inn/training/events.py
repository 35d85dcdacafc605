"""What the trainer tells while it works: it prints nothing itself, it hands these to a callback.

Example:
    fit(config, "runs/mine", report=lambda event: print(event) if isinstance(event, Progress) else None)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Event:
    """What all events share."""

    step: int
    """Optimiser steps done so far."""


@dataclass(frozen=True)
class Preparing(Event):
    """While a text is downloaded, unpacked and encoded; `step` is 0. Only `inn.training.start.train` tells it."""

    what: str
    """What is done, and to which file."""
    done: int
    total: int
    """Bytes; 0 where nobody knows how many there will be."""


@dataclass(frozen=True)
class Started(Event):
    """Once, before the first step; `step` is 0, or where a resumed run goes on."""

    run: Path
    steps: int
    """Steps of the whole run."""
    symbols: int
    """Symbols of the whole run."""
    kind: str
    """Kind of model."""
    parameters: int
    device: str
    """Where it runs; on a CPU with the number of threads."""
    unit: str
    """What a symbol is: character, byte or word."""
    metric: str
    """How the loss is reported: BPC, BPB or PPL."""
    floors: dict[str, float]
    """Bits per symbol of n-gram tables on the validation text, by name (uniform, unigram, bigram, trigram); of a task
    those of an answer that is always the same (constant)."""


@dataclass(frozen=True)
class Progress(Event):
    """Every `log_every` steps; losses and speed are means since the last one."""

    steps: int
    symbols: int
    """Symbols trained on so far."""
    loss: float
    """Nats per symbol, penalty not included."""
    bits: float
    """Bits per symbol."""
    lr: float
    grad_norm: float
    """Gradient norm of the last step, before clipping."""
    symbols_per_s: float
    """Training only: validation, samples and checkpoints are not on this clock."""
    effective_neurons: float | None
    """How many unrelated neurons the population amounts to; None for models without one."""
    penalty: float
    """Nats that the model adds to its loss (gates)."""
    time: float
    """Seconds of work on this run so far, earlier sittings included."""
    seconds_left: float
    named: dict[str, float] = field(default_factory=dict)
    """`penalty.NAME`: that part of the penalty; `objective.NAME`: what the objective measures, per symbol;
    `firing.NAME`: the share of a spiking memory's units that fire; `active.NAME`: the share of
    neurons that a gate lets take part, over all steps."""

    @property
    def fraction(self) -> float:
        """Share of the steps done, 0..1."""
        return self.step / self.steps


@dataclass(frozen=True)
class Validated(Event):
    """After every validation."""

    nats: float
    bits: float
    perplexity: float
    count: int
    """Symbols that were scored."""
    best: bool
    """The best so far."""
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    """What else it is measured by: of a task `accuracy`, `exact`, `auroc`, `rmse`, ...; `objective.NAME`."""


@dataclass(frozen=True)
class Sampled(Event):
    """A piece of text the model wrote."""

    text: str


@dataclass(frozen=True)
class Warned(Event):
    """Something a person should look at: one sentence."""

    message: str


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint is complete on disk."""

    path: Path
    best: bool
    """It holds the best validation so far."""


@dataclass(frozen=True)
class Finished(Event):
    """Once, at the end; `status` is finished or stopped (a signal)."""

    status: str
    run: Path
    summary: dict[str, Any] = field(repr=False)


EventHandler = Callable[[Event], None]
"""What `fit` calls with every event."""


def silent(event: Event) -> None:
    """Report to nobody."""
