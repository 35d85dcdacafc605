"""The two ends of a model, its way in and its way out, in the form of one with other neurons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inn.models.inn import INN
from inn.nn.descriptors import NAMES
from inn.nn.population import Linear
from inn.nn.symbols import AdaptiveHead
from inn.surgery.plans import Plan, along
from inn.surgery.reading import Places, ReadPart, organs_of, origins, read_parts
from inn.system.errors import InputError

STANDARDS = ("input_mean", "input_scale", "target_mean", "target_scale")


def carry_ends(old: Any, new: Any, plan: Plan) -> None:
    """Carry what is outside the graph; and the gains of the readout, where it has them itself."""
    parts = origins(read_parts(old), plan.read, read_parts(new))
    for was, now, read in parts:
        if (gain := now.gain) is not None:
            known = was.counts().to(gain)
            for i, p in enumerate(read):
                gain[i] = 0.0 if p is None else known[p]
    _carry_descriptors(old, new, plan)
    if not hasattr(new, "backbone"):
        return
    _carry_way_in(old, new, plan)
    gone = [_carry_norm(*part) for part in parts]
    _carry_votes(old, new, plan, parts, gone)
    if isinstance(new, INN) and isinstance(new.head, AdaptiveHead):
        new.head.load_state_dict(old.head.state_dict())
        return
    bias: Any = new.head.bias
    last = old.bridge if isinstance(getattr(old, "bridge", None), Linear) else old.head
    bridged = isinstance(getattr(new, "bridge", None), Linear)
    weight = last.weight
    if bridged and last is not old.bridge:  # there was none: what it would have been
        weight = torch.eye(last.weight.shape[1]).to(last.weight)
    elif not bridged and last is not old.head:  # both maps in one
        weight = old.head.weight @ weight
    rows = plan.sensors if bridged and new.config.input == "split" and new.config.embedding_width is None else None
    into: Any = new.bridge.weight if bridged else new.head.weight
    kept: Tensor = into.clone()  # what a new model draws, which new neurons have
    for (was, now, read), left in zip(parts, gone):
        own = weight[:, was.column : was.column + was.config.normed_width]
        told, shift = _read(own, left)
        place = slice(now.column, now.column + now.config.normed_width)
        if bridged or not getattr(new.config, "tied", False):
            part = kept[:, place]
            if rows is None:
                _columns(part, told, was, now, read)
            else:
                to, source = along(rows, new.config.width, weight.device)
                some = part[to]
                _columns(some, told[source], was, now, read)
                part.zero_()
                part[to] = some
        shift = old.head.weight @ shift if bridged else shift
        _of(bias, now)[:] = _of(old.head.bias, was) + shift
    if bridged or not getattr(new.config, "tied", False):
        into.copy_(kept)


def readers_of(model: Any) -> list[str]:
    """The names of the maps by which votes hear what is read out."""
    votes = getattr(model, "votes", None)
    return [] if votes is None else [f"votes.{name}" for name in votes.of_readout]


def _carry_votes(old: Any, new: Any, plan: Plan, parts: list[Any], gone: list[dict[str, Any]]) -> None:
    """Carry what votes hear of the readout; neurons that are gone know nothing, and new ones vote nothing yet."""
    if getattr(new, "votes", None) is None:
        return
    if len(parts) > 1 or hasattr(old.config.readout, "parts"):
        raise InputError("votes hear all that is read together, not readout 'parts'; use another readout")
    ((was, now, read),), (left,) = parts, gone
    for name in new.votes.of_readout:
        before, after = getattr(old.votes, name), getattr(new.votes, name)
        told, shift = _read(before.weight, left)
        _columns(after.weight, told, was, now, read)
        after.bias.copy_(before.bias + shift)
    if added := [i for i, p in enumerate(plan.neurons) if p is None]:
        new.votes.silence(added)


def _of(bias: Any, part: ReadPart) -> Tensor:
    """The bias of a part `[O]`, of the head of a model that has one or several."""
    return bias if bias.ndim == 1 else bias[part.number]


def _carry_way_in(old: Any, new: Any, plan: Plan) -> None:
    split, width = new.config.input == "split", new.config.width
    parts: list[Any]
    if isinstance(new, INN):
        narrow = isinstance(new.widen, Linear)
        parts = [(old.embedding.weight, new.embedding.weight, None if narrow or not split else 1)]
        if narrow:
            parts.append((old.widen.weight, new.widen.weight, 0 if split else None))
    else:
        for name in STANDARDS:
            getattr(new, name).copy_(getattr(old, name))
        own = 0 if split else None
        parts = [(old.input.weight, new.input.weight, own), (old.input.bias, new.input.bias, own)]
    for before, after, axis in parts:
        if axis is None:
            after.copy_(before)
            continue
        to, source = along(plan.sensors, width, after.device)
        after.index_copy_(axis, to, before.index_select(axis, source))


def _carry_norm(old: ReadPart, new: ReadPart, read: Places) -> dict[str, Any]:
    """Carry the norm of a part; what a map behind it has to be told of the places that are gone."""
    width, names = new.config.width, ("weight", "bias")
    gone: dict[str, Any] = {"at": torch.zeros(0, dtype=torch.long), "weight": None, "bias": None}
    for name in names:
        before, after = getattr(old.norm, name, None), getattr(new.norm, name, None)
        if before is None or after is None:
            continue
        if not new.side_by_side:
            after.copy_(before)
            continue
        gain = old.counts().to(before)
        if (always := getattr(old.norm, "always", None)) is not None:  # organs count where they answer, and so are gone
            gain = gain * always
        gain = gain.repeat_interleave(width)
        to, source = along(read, width, after.device)
        after[to] = before[source]
        left = torch.ones(len(before), dtype=torch.bool, device=before.device)
        left[source] = False
        gone["at"] = left.nonzero().flatten()
        gone[name] = (before * gain)[gone["at"]]
    return gone


def _carry_descriptors(old: Any, new: Any, plan: Plan) -> None:
    """Carry the descriptors of the organs that stay, and that of what is of no organ."""
    if getattr(new, "descriptors", None) is None or old.descriptors is None:
        return
    was = [None, *(set(organ) for organ in organs_of(old.config))]
    for k, organ in enumerate([None, *organs_of(new.config)]):
        there = 0 if organ is None else next((j for j, o in enumerate(was) if o and plan.neurons[organ[0]] in o), None)
        if there is not None:
            new.descriptors.put(k, **{name: getattr(old.descriptors, name)[there] for name in NAMES})


def _read(weight: Tensor, gone: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """A map `[O, I]` behind the norm with one column more, and what it adds: what the places that are gone come to.

    A layer norm makes w m + b of each, with the same m for all.
    """
    at, rest = gone["at"], torch.zeros_like(weight[:, :1])
    shift = rest[:, 0]
    if gone["bias"] is not None and len(at):
        rest, shift = weight[:, at] @ gone["weight"][:, None], weight[:, at] @ gone["bias"]
    return torch.cat((weight, rest), 1), shift


def _columns(weight: Any, told: Tensor, old: ReadPart, new: ReadPart, read: Places) -> None:
    """Fill a map behind the new norm by what the old one reads, `told`; new neurons' columns stay as they were drawn.

    Behind the places stand what a layer norm makes of those that are gone: before this, and now.
    """
    if not new.side_by_side:
        weight.copy_(told[:, : weight.shape[1]])
        return
    to, source = along(read, new.config.width, weight.device)
    weight[:, to] = told[:, source]
    if new.config.normed_width > new.config.readout_width:
        weight[:, -1] = told[:, old.config.readout_width :].sum(1)
