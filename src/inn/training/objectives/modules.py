"""Teach a model block by block: each block of its rounds in the place of one round of a small model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from inn.config.run import TrainConfig
from inn.data.streams import Batch
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.nn.graph import Graph
from inn.nn.modes import device_of
from inn.nn.round import Parts, Penalties
from inn.nn.topology.edges import Edges
from inn.system.errors import InputError
from inn.training.finite import TrainingDiverged
from inn.training.optim import build_optimizer, build_schedule

WAY_OUT = ("norm", "bridge", "head")
"""What a model has behind its graph."""
Score = Callable[[Tensor, Tensor, Batch], Tensor]
"""The loss `[]` of logits `[B, T, V]`, beside those of the teacher, on a batch; summed over the targets."""


class Stitch(nn.Module):
    """Neurons of one model as those of another, by a linear map over all of them: `[B, T, N, D]` -> `[B, T, N', D']`.

    It starts as the identity where both are alike.
    """

    def __init__(self, before: tuple[int, int], after: tuple[int, int]):
        super().__init__()
        self.after = after
        self.map = nn.Linear(math.prod(before), math.prod(after))
        if before == after:
            nn.init.eye_(self.map.weight)
            nn.init.zeros_(self.map.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x.flatten(2)).unflatten(-1, self.after)


class Stretch(nn.Module):
    """Rounds of a graph in the place of one round of another, along their own graph's edges, behind a stitch."""

    def __init__(self, graph: Graph, rounds: Sequence[int], stitch: nn.Module | None = None):
        super().__init__()
        self.rounds = nn.ModuleList(graph.round(r) for r in rounds)
        self.stitch = nn.Identity() if stitch is None else stitch
        self.edges = lambda: graph.edges  # not a child: the rest of its graph is not this one's

    @property
    def parallel_in_time(self) -> bool:
        return all(module.parallel_in_time for module in self.rounds)

    def initial_state(self, batch: int) -> Parts:
        own = ((i, module.initial_state(batch)) for i, module in enumerate(self.rounds))  # type: ignore[operator]
        return {f"{i}.{name}": t for i, tree in own for name, t in tree.items()}

    def forward(self, x: Tensor, state: Parts, *, edges: Edges | None = None, **options: Any):
        penalties: Penalties = {}
        new: Parts = {}
        x = self.stitch(x)
        for i, module in enumerate(self.rounds):
            own = {name.partition(".")[2]: t for name, t in state.items() if name.startswith(f"{i}.")}
            x, after, found = module(x, own, edges=self.edges(), **options)
            new |= {f"{i}.{name}": t for name, t in after.items()}
            penalties |= found
        return x, new, penalties


def assembled(first: Any, stretches: Sequence[Stretch], last: Any) -> Any:
    """A model of the way in of one model, these stretches of rounds, and the way out of another.

    All parts are the models' own, no copies.
    """
    new, graph = _shallow(first), _shallow(first.graph)
    graph.config = replace(first.graph.config, rounds=len(stretches), share_rounds=False)
    graph.rounds = nn.ModuleList(stretches)
    graph.readout = last.graph.readout
    new.backbone, new.views = graph, last.views
    for name in WAY_OUT:
        if hasattr(last, name):
            setattr(new, name, getattr(last, name))
    if hasattr(new.config, "pool"):
        new.config = _shallow(first.config)
        new.config.pool = last.config.pool
    return new


def _shallow(one: Any) -> Any:
    """Another object with the same attributes, and as a module the same children in a list of its own."""
    new = object.__new__(type(one))
    vars(new).update(vars(one))
    for name in ("_modules", "_parameters", "_buffers"):
        if name in vars(one):
            vars(new)[name] = dict(vars(one)[name])
    if isinstance(one, SequenceModel | Graph):
        new._own = None
    return new


@dataclass
class Lessons:
    """How a student is taught module by module (after *m2mKD*, arXiv 2402.16918).

    The rounds of student and teacher are split into as many blocks. A small model, the meta model, has one round for
    each; the first block has the way in of its model with it, the last one the way out. Where block i of the teacher,
    between stitches, stands in the place of round i, that is a model, and the student's block learns to tell the same
    in that place; nothing else changes. A meta model that is not given has the student's neurons; it is trained first,
    in turn by itself and with one of the teacher's blocks in it, so that these fit. In a given one only the stitches
    around the teacher's blocks are.

    Args:
        student, teacher, meta: models with a graph of neurons; meta None: to be trained.
        blocks: how many.
        steps: that the meta model, and then each block, is taught for.
        config: optimiser, learning rate (which falls anew over every lesson), precision and seed.
        score: what is minimised.
    """

    student: Any
    teacher: Any
    meta: Any
    blocks: int
    steps: int
    config: TrainConfig
    score: Score

    def teach(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Give all lessons, on as many of these batches; returns the steps, and the loss at the end of each lesson."""
        device, given, reading = device_of(self.student), self.meta is not None, iter(batches)
        if not given:
            self.meta = self._new().to(device)
        self.meta.requires_grad_(not given).train(not given)
        shape = _shape(self.meta)
        inward = [Stitch(shape, _shape(self.teacher)) for _ in range(self.blocks - 1)]
        outward = [Stitch(_shape(self.teacher), shape) for _ in range(self.blocks - 1)]
        stitches = nn.ModuleList([*inward, *outward]).to(device)
        taught = [self._with(self.teacher, i, inward, outward) for i in range(self.blocks)]
        learning = nn.ModuleList([stitches] if given else [self.meta, stitches])
        told: dict[str, float] = {}

        def first(batch: Batch, step: int) -> Tensor:
            models = [taught[step % self.blocks], *([] if given else [self.meta])]
            right = self._read(self.teacher, batch)
            return torch.stack([self.score(self._read(m, batch, True), right, batch) for m in models]).mean()

        told["meta"] = self._lesson("the meta model", learning, first, reading)
        self.meta.requires_grad_(False).eval()
        flags = [(p, p.requires_grad) for p in self.student.parameters()]
        differ = shape != _shape(self.student)
        for i in range(self.blocks):
            ends = [Stitch(shape, _shape(self.student)), Stitch(_shape(self.student), shape)] if differ else [None] * 2
            own = nn.ModuleList([end.to(device) for end in ends if end is not None])
            learner = self._with(self.student, i, *([end] * self.blocks for end in ends))
            own_parameters = {id(p) for p in self._block(i)}
            for p, flag in flags:
                p.requires_grad_(flag and id(p) in own_parameters)

            def lesson(batch: Batch, step: int, learner: Any = learner, model: Any = taught[i]) -> Tensor:
                return self.score(self._read(learner, batch, True), self._read(model, batch), batch)

            told[f"module.{i}"] = self._lesson(f"module {i}", nn.ModuleList([learner, own]), lesson, reading)
        for p, flag in flags:
            p.requires_grad_(flag)
            p.grad = None
        return {"steps": float(self.steps * (self.blocks + 1)), **told}

    def _new(self) -> Any:
        """A meta model: the student's neurons, one round for each block."""
        new: Any = build_model(replace(self.student.config, rounds=self.blocks))
        for name, t in self.student.named_buffers(recurse=False):  # how a signal is standardised
            getattr(new, name).copy_(t)
        return new

    def _with(self, model: Any, i: int, inward: Sequence[Any], outward: Sequence[Any]) -> Any:
        """The meta model with block i of a model in the place of its round i."""
        meta, last = self.meta, self.blocks - 1
        rounds = [Stretch(meta.graph, [r]) for r in range(self.blocks)]
        rounds[i] = Stretch(model.graph, _part(model, i, self.blocks), inward[i - 1] if i else None)
        if i < last and outward[i] is not None:
            rounds[i + 1] = Stretch(meta.graph, [i + 1], outward[i])
        return assembled(model if i == 0 else meta, rounds, model if i == last else meta)

    def _block(self, i: int) -> Iterator[nn.Parameter]:
        """The student's parameters that block i has: a tied head's are of the way in."""
        model, last = self.student, self.blocks - 1
        for r in _part(model, i, self.blocks):
            yield from model.graph.round(r).parameters()
        out = [model.graph.readout, *(getattr(model, n) for n in WAY_OUT if hasattr(model, n))]
        behind = {id(p) for m in (*model.graph.rounds, *out) for p in m.parameters()}
        before = [p for p in model.parameters() if id(p) not in behind]
        if hasattr(model, "embedding"):
            before += [p for p in model.embedding.parameters() if id(p) in behind]
        if i == 0:
            yield from before
        if i == last:
            known = {id(p) for p in before}
            yield from (p for m in out for p in m.parameters() if id(p) not in known)

    def _read(self, model: Any, batch: Batch, learns: bool = False) -> Tensor:
        """What a model tells of a batch; lessons carry no state from batch to batch."""
        x, kind = batch.inputs, batch.inputs.device.type
        with (
            torch.set_grad_enabled(learns),
            torch.autocast(kind, torch.bfloat16, enabled=self.config.dtype == "bfloat16"),
        ):
            return model(x)[0]

    def _lesson(
        self, what: str, learning: nn.Module, loss: Callable[[Batch, int], Tensor], batches: Iterator[Batch]
    ) -> float:
        """Train what has gradients for so many steps; the mean loss per target over the last quarter."""
        optimizer, lr = build_optimizer(learning, self.config), build_schedule(self.config, self.steps)
        device, ends = device_of(self.student), []
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for step in range(self.steps):
            read = next(batches)
            own = None if read.weights is None else read.weights.to(device)
            batch = Batch(read.inputs.to(device), read.targets.to(device), None, own)
            nats = loss(batch, step) / self.student.counted(batch.targets)
            optimizer.zero_grad(set_to_none=True)
            nats.backward()
            if self.config.clip:
                torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)
            for group in optimizer.param_groups:
                group["lr"] = lr(step)
            optimizer.step()
            if step >= self.steps - max(1, self.steps // 4):
                ends.append(nats.detach())
        found = float(torch.stack(ends).mean())
        if not math.isfinite(found):
            raise TrainingDiverged(f"teaching {what} diverged: its loss is {found}; try a lower train.lr")
        return found


def _shape(model: Any) -> tuple[int, int]:
    return model.graph.config.neurons, model.graph.config.width


def _part(model: Any, i: int, blocks: int) -> range:
    """The rounds of block i of so many."""
    rounds = model.graph.config.rounds
    return range(i * rounds // blocks, (i + 1) * rounds // blocks)


def _check(model: Any, whose: str) -> None:
    """Raise `InputError` for a model that cannot be taken apart into blocks of rounds."""
    graph = getattr(model, "graph", None)
    why = None
    if not isinstance(graph, Graph):
        why = f"is of kind '{model.config.kind}', without a graph of neurons"
    elif graph.config.share_rounds:
        why = "has one set of weights for all rounds (share_rounds)"
    elif graph.gate is not None or graph.config.views > 1:
        why = f"has a gate for all rounds, or a readout of several views ('{graph.config.readout.kind}')"
    elif getattr(model.config, "channels", "all") == "split" or getattr(model.config, "elapsed", None) is not None:
        why = "deals channels out among its neurons, or tells them the time (channels, elapsed)"
    if why:
        raise InputError(f"{whose} {why}, and is not taught module by module; set train.objective.by logits")


def number_of_blocks(models: dict[str, Any], wanted: int) -> int:
    """How many blocks all these models have, by whose they are: as many as the fewest rounds where 0 are wanted.

    Raises `InputError` for more than that, and for models that cannot be taken apart into blocks of rounds.
    """
    for whose, model in models.items():
        _check(model, whose)
    whose, least = min(((w, m.graph.config.rounds) for w, m in models.items()), key=lambda pair: pair[1])
    blocks = wanted or least
    if not 2 <= blocks <= least:
        raise InputError(
            f"modules must be from 2 to the {least} rounds of {whose}, not {blocks}; set train.objective.modules, or "
            "train.objective.by logits"
        )
    return blocks
