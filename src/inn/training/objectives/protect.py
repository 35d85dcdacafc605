"""Learn the next thing without losing the last: updates leave the directions that earlier data used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from inn.config.run import TrainConfig
from inn.inference.evaluate import Score
from inn.models.names import filed
from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import pack_rng, unpack_rng
from inn.runs.directory import Run
from inn.runs.load import path_of
from inn.system.errors import InputError
from inn.training.objectives.base import Context, StepResult
from inn.training.objectives.options import ProtectOptions
from inn.training.objectives.predict import Predict
from inn.training.objectives.space import Spaces, share, space_of

SPACE = "space."
FULL = 0.8
"""The share of all directions above which there is hardly anything left to learn with."""


class Protect(Predict):
    """Predict, with updates that do not touch what the run it starts from has learned.

    What the optimiser has changed of a linear map is taken back along the directions H of its inputs that the data of
    that run goes in: ΔW ← ΔW (1 - Hᵀ H), weight decay and momentum included. So the map answers as before to what lies
    in their span. Of an embedding, and of the symbols that are recalled, the rows that were read stay; new symbols are
    learned. Directions that that run has protected itself stay protected: runs can be chained. Weights that are no
    linear map (biases, norms, time constants) stay as they are, or are `free`. After *HLOP*, arXiv 2402.11984. The
    directions are in the checkpoints. What Hebb's rule has learned is made orthonormal.
    """

    Options = ProtectOptions

    def __init__(self, options: ProtectOptions, context: Context, config: TrainConfig):
        super().__init__(options, context, config)
        if config.start is None:
            raise InputError(
                "objective 'protect' protects what a run has learned, and this one starts from none; "
                "start from it by `inn train --from RUN --run NEW`"
            )
        if any(hasattr(p, "device_mesh") for p in self.model.parameters()):
            raise InputError("objective 'protect' needs whole weights in every process; set train.parallel ddp")
        widest = max(p.shape[-1] for p in self.model.parameters() if p.ndim > 1)
        if options.rank > widest:
            raise InputError(f"rank {options.rank} is above the width of every map, {widest} at most; set a lower one")
        self._space: Spaces | None = None
        self.before: dict[str, Tensor] = {}

    @property
    def space(self) -> Spaces:
        """What is protected, by weight; collected when it is first asked for, and then kept in the checkpoints."""
        if self._space is None:
            start, o = str(self.config.start), self.options
            random = pack_rng()
            known = earlier(start)
            found = space_of(start, o.symbols, energy=o.energy, rank=o.rank, known=known, by=o.by)
            unpack_rng(random)
            names = {filed(name) for name, _ in self.model.named_parameters()}
            self._keep({name: h for name, h in found.items() if name in names})
            taken = share(self.model, self.space)
            if taken > FULL:
                warnings.warn(
                    f"{taken:.0%} of the directions of all maps are protected, so there is little left to learn with; "
                    "lower train.objective.energy or set train.objective.rank",
                    stacklevel=2,
                )
        assert self._space is not None
        return self._space

    def _keep(self, space: Mapping[str, Tensor]) -> None:
        device = next(self.model.parameters()).device
        self._space = {name: h.to(device) for name, h in space.items()}

    def before_step(self, step: int) -> None:
        space, free = self.space, self.options.others == "free"
        known = {filed(name): p for name, p in self.model.named_parameters()}
        self.before = {n: p.detach().clone() for n, p in known.items() if n in space or not free}

    @torch.no_grad()
    def after_step(self, step: int, result: StepResult) -> None:
        space = self.space
        for name, p in self.model.named_parameters():
            if (old := self.before.get(filed(name))) is not None:
                p.copy_(old if (h := space.get(filed(name))) is None else old + outside(p - old, h))
        self.before = {}

    def measure(self, score: Callable[[], Score]) -> dict[str, float]:
        return {"protected": share(self.model, self.space)}

    def state_dict(self) -> dict[str, Any]:
        return {SPACE + name: h for name, h in self.space.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._keep({name.removeprefix(SPACE): h for name, h in state.items()})


def outside(change: Tensor, space: Tensor) -> Tensor:
    """A change `[P, O, I]` or `[O, I]` of a map without what it does to inputs in a space `[P, K, I]`; of a table
    `[V, D]` without that of the rows `[V]`.

    >>> outside(torch.ones(1, 2), torch.tensor([[[1.0, 0.0]]])).tolist()
    [[0.0, 1.0]]
    """
    if space.ndim == 1:
        return change.masked_fill(space[:, None], 0.0)
    h = space.to(change.dtype)
    h = h[0] if change.ndim == 2 else h
    return change - (change @ h.transpose(-1, -2)) @ h


def earlier(run: str) -> Spaces:
    """What a run has protected while it was trained; {} where that was nothing."""
    folder = Run(path_of(run))
    steps = checkpoints.steps(folder.checkpoints)
    if not steps:
        return {}
    found = checkpoints.load(folder.checkpoints / checkpoints.name_of(steps[-1]), parts=["objective"])
    return {n.partition(SPACE)[2]: t for n, t in found.tensors["objective"].items() if SPACE in n}
