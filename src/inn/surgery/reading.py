"""What is read of a model: all neurons together, or parts of them by themselves (readout `parts`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from inn.config.graph import GraphConfig
from inn.models.build import outlines
from inn.models.names import filed
from inn.nn.graph import Graph
from inn.registry import READOUTS
from inn.system.errors import InputError

Places = list[int | None]
"""For each new one which old one it is; None: it was not there."""


def config_of(model: nn.Module) -> Any:
    """The configuration of a model with neurons; raises `InputError` for another."""
    config = getattr(model, "config", None)
    if not isinstance(config, GraphConfig):
        raise InputError(f"neurons are those of an INN, a SignalGraph or a Graph, not of a {type(model).__name__}")
    return config


def check_plain(model: nn.Module) -> Any:
    """The configuration of a model whose weights are plain numbers that it has itself; raises `InputError` else."""
    c = config_of(model)
    if hasattr(model, "_orig_mod"):
        raise InputError("a compiled model is not taken apart; give the model that was compiled, its `_orig_mod`")
    for name, p in model.named_parameters():
        if p.is_meta:
            raise InputError(f"this model has no numbers yet ('{filed(name)}' is on device meta); load weights first")
        if type(p) is not nn.Parameter:
            raise InputError(f"'{filed(name)}' is a {type(p).__name__}, and models are taken apart in plain weights")
    with outlines(c):
        expected = type(model)(c).state_dict().keys()
    if odd := sorted(model.state_dict().keys() ^ expected):
        raise InputError(
            f"'{filed(odd[0])}' is not as this kind of model has it (parametrised, pruned or adapted); make the "
            "weights plain first"
        )
    return c


def graph_of(model: nn.Module) -> Graph:
    return model if isinstance(model, Graph) else model.graph  # type: ignore[return-value]


def organs_of(config: Any) -> list[list[int]]:
    """The neurons of each organ among which a model chooses; [] where it does not."""
    return getattr(config.readout, "organs", [])


@dataclass
class ReadPart:
    """What is read by itself of a model: all of it, or one of the parts of readout `parts`.

    Attributes:
        config: the model's, with the readout of this part.
        readout, norm: the modules; a plain graph has no norm.
        number: which of the parts it is.
        first: the first of its neurons among those that are read.
        column: the first of its columns behind the norm.
    """

    config: Any
    readout: Any
    norm: Any
    number: int
    first: int
    column: int

    @property
    def gain(self) -> nn.Parameter | None:
        """What its neurons count `[R]`, where they have gains."""
        found = (getattr(module, "gain", None) for module in (self.norm, self.readout))
        return next((gain for gain in found if gain is not None), None)

    @property
    def side_by_side(self) -> bool:
        return READOUTS[self.config.readout.kind].side_by_side

    def counts(self) -> Tensor:
        """What its neurons count `[R]`; ones where they have no gains."""
        return torch.ones(len(self.config.read)) if self.gain is None else self.gain.detach()


def read_parts(model: nn.Module) -> list[ReadPart]:
    """What is read by itself of a model, in order."""
    c, readout, norm = config_of(model), graph_of(model).readout, getattr(model, "norm", None)
    several = hasattr(c.readout, "parts")
    found, first, column = [], 0, 0
    for p, own in enumerate(c.readouts):
        modules = [m.parts[p] if several and m is not None else m for m in (readout, norm)]  # type: ignore[union-attr, index]
        found.append(ReadPart(own, modules[0], modules[1], p, first, column))
        first, column = first + len(own.read), column + own.normed_width
    return found


def origins(old: list[ReadPart], read: Places, new: list[ReadPart]) -> list[tuple[ReadPart, ReadPart, Places]]:
    """Which part each new one was, and where its neurons were in that, of where all that are read were."""
    found = []
    for part in new:
        own = read[part.first : part.first + len(part.config.read)]
        known = next(p for p in own if p is not None)
        was = max((p for p in old if p.first <= known), key=lambda p: p.first)
        found.append((was, part, [None if p is None else p - was.first for p in own]))
    return found


def gains_of(model: Any) -> Tensor:
    """What the neurons that are read count in the readout, `[R]`."""
    return torch.cat([part.counts() for part in read_parts(model)])


def fewer_read(model: Any, place: dict[int, int]) -> Any:
    """The readout of the neurons that stay, by their new numbers; a part of which none stays is gone."""
    config, parts = config_of(model), []
    own = config.readout
    answer = {n for organ in organs_of(config) for n in organ}  # they count when their organ answers, and else do not
    if answer and not all(n in place or n in answer for n in range(config.neurons)):
        raise InputError("descriptors look at the neurons that are of no organ; keep all of these, or no organ")
    for part in read_parts(model):
        there = [n in place for n in part.config.read]
        gone = [not stays and n not in answer for n, stays in zip(part.config.read, there)]
        lost = sum(float(g) ** 2 for g, goes in zip(part.counts(), gone) if goes)
        now = replace(part.config.readout, read=[], silent=part.config.readout.silent + lost, **_organs(config, place))
        if any(there):
            parts.append({"neurons": sum(there), "readout": now})
    read = [place[n] for n in own.read if n in place]
    return replace(own, read=read, parts=parts) if len(parts) > 1 else replace(parts[0]["readout"], read=read)


def _organs(config: Any, place: dict[int, int]) -> dict[str, Any]:
    """The organs of the neurons that stay, as fields of the readout."""
    own = [[place[n] for n in organ if n in place] for organ in organs_of(config)]
    if not own:
        return {}
    return {"organs": [organ for organ in own if organ]} if any(own) else {"organs": [], "rank": 32, "span": 256}


def columns_of(old: Any, new: Any, read: Places) -> Places:
    """Which column behind the norm, by D, each of the new ones was, where none has more than these."""
    starts_of = [
        [sum(p.normed_width for p in c.readouts[:i]) // c.width for i in range(len(c.readouts))] for c in (old, new)
    ]
    firsts = [[sum(len(p.read) for p in c.readouts[:i]) for i in range(len(c.readouts) + 1)] for c in (old, new)]
    found: Places = []
    for q, part in enumerate(new.readouts):
        own = read[firsts[1][q] : firsts[1][q + 1]]
        known = next(p for p in own if p is not None)
        was = max(i for i, first in enumerate(firsts[0][:-1]) if first <= known)
        if READOUTS[part.readout.kind].side_by_side:
            found += [None if p is None else starts_of[0][was] + p - firsts[0][was] for p in own]
        else:
            found.append(starts_of[0][was])
    return found
