"""One model, many sizes: every first few neurons, and rounds, are a model too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from inn.analysis.lesions.kept import kept
from inn.config.run import TrainConfig
from inn.inference.evaluate import Score
from inn.nn.graph import Graph
from inn.nn.presence import check_takes_present
from inn.nn.state import State
from inn.system.errors import InputError
from inn.training.objectives.base import Context, Loss, MicroBatch
from inn.training.objectives.carried import alone, beside, joined
from inn.training.objectives.options import NestedOptions
from inn.training.objectives.predict import Predict


class Nested(Predict):
    """The mean loss of the full model and of `sample` smaller ones, its first neurons and rounds, in every step.

    A smaller model is the full one with the others silenced, and not computed (`inn.analysis.kept`). After *SortedNet*,
    arXiv 2309.00255.

    It reads on from a state of its own: what it is started from when it is used alone, and not what neurons remember
    that have heard the absent ones. That state is carried while the size is drawn again in the step after, for `hold`
    steps at a time; then the size begins afresh, as at the start of a text. What is recalled (tables of symbols) is the
    same in all sizes, and goes on through all steps.

    In several processes rows forget what they recall independently in the passes of smaller sizes.
    """

    Options = NestedOptions

    def __init__(self, options: NestedOptions, context: Context, config: TrainConfig):
        super().__init__(options, context, config)
        graph = getattr(self.model, "graph", None)
        if not isinstance(graph, Graph):
            raise InputError(
                "objective 'nested' trains the first neurons of a graph, and a model of kind "
                f"'{self.model.config.kind}' has none; set model.kind inn"
            )
        if graph.config.views > 1:
            raise InputError(
                f"readout '{graph.config.readout.kind}' tells something of every link, and fewer neurons have not all "
                "of them; give `present` where links are away, or use another readout"
            )
        if hasattr(graph.config.readout, "parts"):
            raise InputError(
                "objective 'nested' trains what inn.keep cuts out, which reads a part of readout 'parts' no more where "
                "nobody of it is left; use another readout"
            )
        check_takes_present(graph.config, graph.rounds, graph.readout, "train with another objective")
        self.neurons, self.rounds = graph.config.neurons, graph.config.rounds
        sizes = options.sizes or [2**i for i in range(self.neurons.bit_length())]
        self.smaller = [
            (n, r)
            for n in _sorted("sizes", sizes, self.neurons, "neurons")
            for r in _sorted("depths", options.depths, self.rounds, "rounds")
            if (n, r) != (self.neurons, self.rounds)
        ]
        if options.sample > len(self.smaller):
            raise InputError(
                f"sample {options.sample} is more than the {len(self.smaller)} sizes below the full one; "
                "give more train.objective.sizes, or fewer to sample"
            )
        for n, _ in self.smaller:
            for what, places in (("reads the input", graph.config.sensors), ("is read out", graph.config.read)):
                if min(places) >= n:
                    raise InputError(f"none of the first {n} neurons {what}; give train.objective.sizes above {n}")

    def drawn(self, step: int) -> list[tuple[int, int]]:
        """The smaller sizes, (neurons, rounds), that a step trains."""
        first = (step - 1) // self.options.hold * self.options.hold
        chosen = torch.randperm(len(self.smaller), generator=self.generator(first))[: self.options.sample]
        return [self.smaller[i] for i in sorted(chosen.tolist())]

    def before_step(self, step: int) -> None:
        self.now = self.drawn(step)

    def around(self, batch: MicroBatch, loss: Callable[[MicroBatch], Loss]) -> Loss:
        state, sizes = batch.state, {self._name(size): size for size in self.now}
        shared = None
        if state is not None:
            shared = State({k: t for k, t in state.items() if k[1].partition(":")[0] not in self._names})
        whole = loss(replace(batch, state=shared))
        found, carried = [whole], State(whole.state)
        for name, (neurons, rounds) in sizes.items():
            start = None
            if shared is not None:
                own = beside(state, name) or _of_rounds(self.model.initial_state(len(batch.inputs)))
                start = State({**shared, **own})
            with kept(self.model, range(neurons), rounds):
                found.append(loss(replace(batch, state=start)))
            carried = joined(carried, name, _of_rounds(alone(found[-1].state)))
        nats = torch.stack([one.nats for one in found]).mean()
        penalties: dict[str, torch.Tensor] = {}
        for one in found:
            for name, value in (*one.state.penalties.items(), *one.penalties.items()):
                penalties[name] = penalties.get(name, 0.0) + value / len(found)
        return Loss(nats, carried, penalties, {**whole.metrics, "full": whole.nats})

    def measure(self, score: Callable[[], Score]) -> dict[str, float]:
        found = {}
        for size in self.smaller:
            with kept(self.model, range(size[0]), size[1]):
                found[self._name(size)] = score().bits
        return found

    @property
    def _names(self) -> set[str]:
        return {self._name(size) for size in self.smaller}

    def _name(self, size: tuple[int, int]) -> str:
        """`size.4`, `rounds.2`, or `size.4.rounds.2`."""
        parts = [("size", size[0], self.neurons), ("rounds", size[1], self.rounds)]
        return ".".join(f"{what}.{n}" for what, n, most in parts if n != most)


def _sorted(name: str, given: list[int], most: int, what: str) -> list[int]:
    if bad := [n for n in given if not 1 <= n <= most]:
        raise InputError(f"{name} must be from 1 to {most}, the {what} there are, not {bad[0]}")
    return sorted({*given, most})


def _of_rounds(state: State | None) -> State:
    """What depends on who is there: all but round -1, what is recalled."""
    assert state is not None
    return State({key: t for key, t in state.items() if key[0] >= 0})
