"""The two ends of a model, its way in and its way out, in the form of one with other neurons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inn.models.inn import INN
from inn.nn.descriptors import NAMES
from inn.nn.population import Linear
from inn.nn.symbols import AdaptiveHead
from inn.registry import READOUTS
from inn.surgery.plans import Places, Plan, along, gains_of, graph_of, organs_of

STANDARDS = ("input_mean", "input_scale", "target_mean", "target_scale")


def carry_ends(old: Any, new: Any, plan: Plan) -> None:
    """Carry what is outside the graph; and the gains of the readout, where it has them itself."""
    _carry_gains(old, new, plan)
    _carry_descriptors(old, new, plan)
    if not hasattr(new, "backbone"):
        return
    side_by_side = READOUTS[new.config.readout.kind].side_by_side
    read = plan.read if side_by_side else None
    _carry_way_in(old, new, plan)
    added = _carry_norm(old, new, read)
    if isinstance(new, INN) and isinstance(new.head, AdaptiveHead):
        new.head.load_state_dict(old.head.state_dict())
        return
    last = old.bridge if isinstance(getattr(old, "bridge", None), Linear) else old.head
    told, shift = _read(last.weight, added)
    if isinstance(getattr(new, "bridge", None), Linear):
        if last is not old.bridge:  # there was none: what it would have been
            told, shift = _read(torch.eye(last.weight.shape[1]).to(last.weight), added)
        rows = plan.sensors if new.config.input == "split" and new.config.embedding_width is None else None
        weight: Any = new.bridge.weight
        if rows is None:
            _columns(weight, told, read, old, new)
        else:
            to, source = along(rows, new.config.width, weight.device)
            part = weight[to]
            _columns(part, told[source], read, old, new)
            weight.zero_()
            weight[to] = part
        shift = old.head.weight @ shift
    else:
        if last is not old.head:  # both maps in one
            told, shift = old.head.weight @ told, old.head.weight @ shift
        if not getattr(new.config, "tied", False):
            _columns(new.head.weight, told, read, old, new)
    bias: Any = new.head.bias
    bias.copy_(old.head.bias + shift)


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


def _carry_norm(old: Any, new: Any, read: Places | None) -> dict[str, Any]:
    """Carry the last norm; what a map behind it has to be told of the places that are gone."""
    width, names = new.config.width, ("weight", "bias")
    gain = gains_of(old).to(next(old.parameters()))
    if organs_of(old.config):  # those of organs count where these answer alone
        gain = gain * old.norm.always
    gain = gain.repeat_interleave(width)
    gone: dict[str, Any] = {"at": torch.zeros(0, dtype=torch.long), "weight": None, "bias": None}
    for name in names:
        before, after = getattr(old.norm, name, None), getattr(new.norm, name, None)
        if before is None or after is None:
            continue
        if read is None:
            after.copy_(before)
            continue
        to, source = along(read, width, after.device)
        after[to] = before[source]
        left = torch.ones(len(before), dtype=torch.bool, device=before.device)
        left[source] = False
        gone["at"] = left.nonzero().flatten()
        gone[name] = (before * gain)[gone["at"]]
    return gone


def _carry_gains(old: Any, new: Any, plan: Plan) -> None:
    for module in (getattr(new, "norm", None), graph_of(new).readout):
        if (gain := getattr(module, "gain", None)) is not None:
            known = gains_of(old).to(gain)
            for i, p in enumerate(plan.read):
                gain[i] = 0.0 if p is None else known[p]


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


def _columns(weight: Any, told: Tensor, read: Places | None, old: Any, new: Any) -> None:
    """Fill a map behind the new norm by what the old one reads, `told`; new neurons' columns stay as they were drawn.

    Behind the places stand what a layer norm makes of those that are gone: before this, and now.
    """
    if read is None:
        weight.copy_(told[:, : weight.shape[1]])
        return
    to, source = along(read, new.config.width, weight.device)
    weight[:, to] = told[:, source]
    if new.config.normed_width > new.config.readout_width:
        weight[:, -1] = told[:, old.config.readout_width :].sum(1)
