"""Whether models are what `inn.keep` left of one: then they come back under one readout, norm and head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from inn.nn.graph import Graph
from inn.nn.symbols import AdaptiveHead
from inn.surgery.reading import ReadPart, graph_of, read_parts


def last_map(model: Any) -> Tensor:
    """What a model makes of its last norm's numbers, `[O, F]`: bridge and head in one."""
    weight = getattr(getattr(model, "bridge", None), "weight", None)
    return model.head.weight if weight is None else model.head.weight @ weight


@torch.no_grad()
def is_whole(models: Sequence[Any]) -> bool:
    """Whether each counts the neurons of the others among those that are gone, and its head knows them as they are."""
    parts = [read_parts(m)[0] for m in models]
    first = parts[0].config.readout
    if any(p.config.readout.kind != first.kind or hasattr(m.config.readout, "parts") for p, m in zip(parts, models)):
        return False
    if isinstance(models[0], Graph) and parts[0].side_by_side:
        return True  # without a norm behind them, outputs side by side are what they are
    counts = [float(p.counts().square().sum()) for p in parts]
    ids = [i for m in models for i in graph_of(m).ids.tolist()]
    counted = (abs(p.config.readout.silent - sum(counts) + own) < 1e-6 for p, own in zip(parts, counts))
    if not all(counted) or len(set(ids)) < len(ids):
        return False
    if not all(_alike(a.readout, b.readout) for a, b in pairwise(parts)):
        return False
    if isinstance(models[0], Graph):
        return True
    if not parts[0].side_by_side:
        pairs = zip(pairwise(parts), pairwise(models))
        return all(_alike(a.norm, b.norm) and _alike(_tail(m), _tail(n)) for (a, b), (m, n) in pairs)
    if any(isinstance(m.head, AdaptiveHead) for m in models):
        return False
    found = biases(models, parts)
    if not all(_near(a, found[0]) for a in found):
        return False
    rests = [last_map(m)[:, p.config.readout_width :] for m, p in zip(models, parts)]
    if not rests[0].shape[1]:
        return True
    known = [_of_places(m, p, "weight") for m, p in zip(models, parts)]
    total = torch.stack(known).sum(0)
    return all(_near(rest[:, 0], total - own) for rest, own in zip(rests, known))


def biases(models: Sequence[Any], parts: Sequence[ReadPart]) -> list[Tensor]:
    """The head's bias before neurons were taken out, as each of the models has it."""
    own = [_of_places(m, p, "bias") for m, p in zip(models, parts)]
    total = torch.stack(own).sum(0)
    return [m.head.bias - (total - one) for m, one in zip(models, own)]


def _of_places(model: Any, part: ReadPart, name: str) -> Tensor:
    """What the head makes of the last norm's weight or bias in the places of a model's neurons, `[O]`."""
    if (t := getattr(part.norm, name, None)) is None:
        return torch.zeros_like(model.head.bias)
    gain = part.counts().to(t).repeat_interleave(part.config.width)
    return last_map(model)[:, : part.config.readout_width] @ (t * gain)


def _near(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 if a.dtype == torch.float64 else 1e-4)


def _tail(model: Any) -> nn.ModuleList:
    return nn.ModuleList(m for m in (getattr(model, "bridge", None), model.head) if m is not None)


def _alike(a: nn.Module, b: nn.Module) -> bool:
    one, two = (dict(m.named_parameters()) for m in (a, b))
    names = {n for n in one.keys() | two.keys() if n.rpartition(".")[2] != "gain"}
    return all(n in one and n in two and torch.equal(one[n], two[n]) for n in names)
