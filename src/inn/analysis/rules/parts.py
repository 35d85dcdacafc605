"""The parts of a graph whose activity is explained, step by step: neurons, edges and gates, round by round."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from inn.analysis.recording.record import writing_on
from inn.analysis.recording.stretches import Neurons, Reading, entering, recalled, running, said_by, warmed
from inn.analysis.recording.trace import Trace
from inn.analysis.rules.read import Read, looked_up, one_after_another, read_of, recall_of
from inn.analysis.rules.speech import Speech, listening
from inn.data.base import Vocabulary
from inn.nn.modes import evaluating
from inn.nn.state import State
from inn.nn.tape import RoundTape
from inn.nn.topology.edges import Edges, spread

EDGES = 128
"""Edges that are explained: the strongest."""
_DENSE = 64
"""Neurons up to which edges are explained: the weights of every step are made for it."""


@dataclass(frozen=True)
class Part:
    """A neuron, an edge or a gate in one round.

    Attributes:
        kind: `neuron`, `edge` or `gate`.
        neuron: its number; of an edge who hears.
        source: of an edge who is heard; else None.
        round: the first is 0.
    """

    kind: str
    neuron: int
    round: int
    source: int | None = None

    @property
    def name(self) -> str:
        of = f"{self.neuron}" if self.source is None else f"{self.source} → {self.neuron}"
        return f"{self.kind} {of}, round {self.round + 1}"


@dataclass(frozen=True)
class Recorded:
    """What parts did on K rows of T steps.

    Attributes:
        parts: U of them.
        activity: `[K x T, U]` float32: of a neuron the root mean square of what its memory adds, of an edge its weight
            or the size of its message, of a gate what it lets through.
        read: what was read meanwhile, and recalled.
        speech: what the neurons said; None of a large graph.
    """

    parts: list[Part]
    activity: Tensor
    read: Read
    speech: Speech | None


class _Steps(Trace):
    """A trace whose routing is one number per edge: heads are averaged, and signs do not count."""

    @property
    def kept(self) -> list[str]:
        """The channels of which there is something."""
        return [name for name in self.channels if any(channel == name for channel, _ in self._values)]

    def at(self, r: int, mask: Tensor | None) -> RoundTape:
        return _RoundSteps(self, r, mask)


class _RoundSteps(RoundTape):
    def add_routing(self, weights: Tensor, edges: Edges | None = None) -> None:
        weights = weights if edges is None else spread(weights, edges)
        super().add_routing(weights.abs().mean(2, keepdim=True))


@torch.no_grad()
def recorded(
    model: Neurons,
    text: Reading,
    vocabulary: Vocabulary,
    parts: list[Part] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Recorded:
    """What the parts of a model did while it read; `parts` are all neurons, gates and the strongest edges when None.

    >>> import numpy as np
    >>> from inn import INN
    >>> from inn.analysis.recording.stretches import stretches
    >>> from inn.data.vocabulary import Characters
    >>> model = INN(vocab=5, neurons=3, width=8, rounds=1, recall="none")
    >>> found = recorded(model, stretches(np.arange(600) % 5, 300), Characters("abcde"))
    >>> found.activity.shape, found.parts[-1].name
    (torch.Size([288, 9]), 'edge 1 → 2, round 1')
    """
    small = model.config.neurons <= _DENSE
    channels = ["activity", "gate"] + (["routing"] if small else [])
    kept: dict[str, list[Tensor]] = {}
    chosen, recall, speech, done = looked_up(model), [], [], 0
    with evaluating(model):
        for some in text.groups():
            entered = entering(model, some, recalled(model, some))
            recall.append(recall_of(chosen, entered.found))
            x, state = warmed(model, some, entered)
            with listening(model) if small else nullcontext() as heard:
                for name, values in _windows(model, some, x, state, channels).items():
                    kept.setdefault(name, []).append(torch.cat(values, 2).flatten(1, 2))
            if heard is not None:
                speech.append(heard())
            done += some.size
            if report is not None:
                report(done, text.size)
    values = {name: torch.cat(many, 1) for name, many in kept.items()}  # [R, K x T, ...]
    if parts is None:
        parts = _all(values)
    columns = []
    for part in parts:
        if part.source is None:
            columns.append(values["activity" if part.kind == "neuron" else "gate"][part.round, :, part.neuron])
        else:
            columns.append(values["routing"][part.round, :, 0, part.neuron, part.source])
    read = read_of(text, vocabulary, one_after_another(recall))
    return Recorded(parts, torch.stack(columns, 1), read, torch.cat(speech, 1) if speech else None)


def _windows(model: Neurons, some: Reading, x: Tensor, state: State, channels: list[str]) -> dict[str, list[Tensor]]:
    """What is recorded of some rows, window after window: `[R, rows, steps, ...]` by channel."""
    steps, windows = running(model, some, x, state), {}
    while True:
        tape = _Steps(tuple(channels))
        with writing_on(model, tape):
            if (step := next(steps, None)) is None:
                return windows
        said_by(model, *step[1:])
        for name in tape.kept:
            found = tape.values(name)  # [R, rows x steps, ...]
            windows.setdefault(name, []).append(found.unflatten(1, (len(some.tokens), -1)).float().cpu())


def _all(values: dict[str, Tensor]) -> list[Part]:
    rounds, _, neurons = values["activity"].shape
    found = [Part("neuron", n, r) for n in range(neurons) for r in range(rounds)]
    if "gate" in values:
        gates = values["gate"]
        found += [Part("gate", n, r) for n in range(gates.shape[2]) for r in range(len(gates))]
    if "routing" in values:
        mean = values["routing"].mean(1)[:, 0].clone()  # [R, N_to, N_from]
        mean.diagonal(dim1=1, dim2=2).fill_(0)
        strongest = mean.flatten().argsort(descending=True, stable=True)[:EDGES].tolist()
        chosen = [(i // neurons**2, i // neurons % neurons, i % neurons) for i in strongest if mean.flatten()[i] > 0]
        found += [Part("edge", to, r, n) for r, to, n in sorted(chosen, key=lambda e: (e[1], e[2], e[0]))]
    return found
