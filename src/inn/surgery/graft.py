"""Organs put into a model: neurons or rounds of another one, in the place of its own or beside them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inn.config.typed import typed
from inn.models.names import filed
from inn.nn.topology.base import edges_of
from inn.surgery.decoders import graft_decoder, is_decoder
from inn.surgery.ends import readers_of
from inn.surgery.organ import Axes, Organ, axes_of, check_rounds, donor_of, fingerprint, joint, places
from inn.surgery.plans import fewer, more, recall_of
from inn.surgery.reading import check_plain, config_of, gains_of, graph_of
from inn.surgery.rebuild import rebuilt, sources
from inn.surgery.states import alike
from inn.system.errors import InputError
from inn.system.files import sha256_of


@typed
def graft(base: Any, organ: Organ, at: int | None = None, insert: bool = False, freeze: bool = False) -> Any:
    """A model with an organ in it; the base is left as it is, and so is its mode of training.

    The organ's rounds, or neurons, take the place of the base's from `at` on. Neurons bring along what they hear of the
    others and the others of them, where the donor and the base have neurons of the same ids.

    Args:
        base: an `INN`, a `SignalGraph` or a `Graph`; or a decoder of Hugging Face.
        organ: what `cut` or `Organ.load` gave.
        at: the first round, or neuron, whose place it takes; None: rounds those that they were in the donor, neurons
            those of the same ids, and new places behind the others for those whose ids the base has not.
        insert: put it in front of round `at`, or as new neurons behind the others, and replace nothing.
        freeze: train the organ only: all else of the result gets no gradient. Of rounds; the base is what it was when
            its own rounds are put back.

    Raises `InputError` where a kind, a width, a vocabulary or a number of neurons is another, naming both; where the
    place is not there; and for parts that cannot be added to. Warns where the rest of the base is not the donor's.

    >>> from inn import INN
    >>> from inn.surgery.organ import cut
    >>> model, tokens = INN(vocab=9, neurons=3, width=4, rounds=2).eval(), torch.arange(9)[None]
    >>> torch.equal(graft(model, cut(model, rounds=[1]))(tokens)[0], model(tokens)[0])
    True
    """
    if organ.of_decoder != is_decoder(base):
        of = "a decoder" if organ.of_decoder else "a graph"
        raise InputError(f"the organ does not fit: it is of {of}, and the base is a {type(base).__name__}")
    if organ.of_decoder:
        return graft_decoder(base, organ.about, organ.tensors, at, insert, freeze)
    c, own = check_plain(base), organ.config
    _check(base, organ)
    if organ.what == "rounds":
        new = _with_rounds(base, organ, at, insert)
        if freeze:
            first = organ.numbers[0] if at is None else at
            new.requires_grad_(False)
            for r in range(first, first + len(organ.numbers)):
                graph_of(new).rounds[r].requires_grad_(True)
        return new
    if freeze:
        raise InputError("freeze trains rounds that are grafted; for new neurons use inn.grow(..., freeze=True)")
    taken = _places(base, organ, at, insert)
    count = sum(p is None for p in taken)
    if count:
        memories = [m for m, p in zip(_memories(own, organ.numbers), taken) if p is None]
        plan = more(base, count, memories, 0, heard=True)
    else:
        plan = fewer(base, list(range(c.neurons)))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        donor = donor_of(organ).to(next(base.parameters()).device)
        back = count > 0 and _comes_back(base, organ, taken)
        if back:
            readout = plan.config.readout
            left = readout.silent - _counts(donor, organ.numbers)
            plan.config.readout = replace(readout, silent=0.0 if left < 1e-6 else left)
        plan.config = _with_own(plan.config, base, donor, organ, taken)
        new = rebuilt(base, plan)
        free = iter(range(c.neurons, c.neurons + count))
        to = [next(free) if p is None else p for p in taken]
        _put(donor, new, dict(zip(organ.numbers, to)), _partners(base, organ, to))
        if back:
            _remembered(donor, new, organ.numbers)
        ids = graph_of(new).ids
        known = set(graph_of(base).ids.tolist())
        for one, place in zip(organ.about["ids"], to):
            if place >= c.neurons and one not in known:
                ids[place] = one
    return new


def _check(base: Any, organ: Organ) -> None:
    c, own = config_of(base), organ.config
    ours, theirs = joint(c), joint(own)
    loose = ("neurons", "memory") if organ.what == "neurons" else ()
    for name, value in ours.items():
        if name not in loose and value != theirs[name]:
            raise InputError(
                f"the organ does not fit: its {name} is {theirs[name]}, and the base's is {value}; graft it into a "
                "model like its donor"
            )
    for name in ("router", "inner"):
        if getattr(c, name) != getattr(own, name) and own.neurons == c.neurons:
            raise InputError(
                f"the organ does not fit: its {name} has other options than the base's, {getattr(own, name)}"
            )
    if organ.what == "neurons" and c.rounds != own.rounds:
        raise InputError(f"the organ does not fit: its rounds are {own.rounds}, and the base's {c.rounds}")
    vocabulary = getattr(base, "vocabulary", None)
    mine = None if vocabulary is None else sha256_of([vocabulary.to_json().encode()])
    other = organ.about.get("vocabulary_sha256")
    if None not in (mine, other) and mine != other:
        raise InputError("the organ does not fit: its donor read other symbols than the base (their sha256 differ)")
    if getattr(c, "vocab", None) != getattr(own, "vocab", None) and organ.what == "neurons":
        raise InputError(f"the organ does not fit: its donor had {own.vocab} symbols, and the base has {c.vocab}")
    if type(c) is not type(own) and organ.what == "neurons":
        raise InputError("the organ does not fit: its donor was another kind of model than the base")


def _with_rounds(base: Any, organ: Organ, at: int | None, insert: bool) -> Any:
    c, count = config_of(base), len(organ.numbers)
    check_rounds(c, organ.numbers)
    at = organ.numbers[0] if at is None else at
    last = c.rounds if insert else c.rounds - count
    if not 0 <= at <= last:
        where = f"from 0 to {last}" if last >= 0 else f"nowhere, with {c.rounds} rounds"
        raise InputError(f"an organ of {count} rounds can be grafted at {where}, not at {at}")
    if not insert:
        _warn(base, organ, list(range(at, at + count)))
    with torch.random.fork_rng(devices=[]):
        new = type(base)(replace(c, rounds=c.rounds + (count if insert else 0)))
    like = next(base.parameters())
    new = new.to(like.device, like.dtype)
    prefix, tensors = "" if new is graph_of(new) else "backbone.", {}
    mine = organ.tensors
    for name, t in base.state_dict().items():
        own = name.removeprefix(prefix)
        if name.startswith(f"{prefix}rounds."):
            r, _, rest = own.removeprefix("rounds.").partition(".")
            r = int(r) + (count if insert and int(r) >= at else 0)
            if insert or not at <= r < at + count:
                tensors[f"{prefix}rounds.{r}.{rest}"] = t
        else:
            tensors[name] = t
    tensors |= {_moved(prefix, name, at): t for name, t in mine.items()}
    for name, t in new.state_dict().items():
        if name not in tensors or tensors[name].shape != t.shape:
            raise InputError(f"the organ does not fit: '{filed(name)}' has another shape in it")
    new.load_state_dict(tensors)
    edges = [graph_of(base).edges, edges_of(organ.config)]
    if all(e is not None for e in edges) and not torch.equal(edges[0].sources.cpu(), edges[1].sources):  # type: ignore[union-attr]
        raise InputError("the organ does not fit: its weights are of other edges than the base has")
    return alike(base, new, _of_rounds(c.rounds, at, count) if insert else None)


def _of_rounds(rounds: int, at: int, count: int) -> list[int]:
    return [*range(at), *[at] * count, *range(at, rounds)]


def _moved(prefix: str, name: str, at: int) -> str:
    r, _, rest = name.removeprefix("rounds.").partition(".")
    return f"{prefix}rounds.{int(r) + at}.{rest}"


def _warn(base: Any, organ: Organ, numbers: Sequence[int]) -> None:
    if fingerprint(base, organ.what, numbers) != organ.about.get("base_sha256"):
        warnings.warn("the rest of this model is not that of the organ's donor (its sha256 differs)", stacklevel=4)


def _memories(config: Any, numbers: Sequence[int]) -> list[Any]:
    every = [g.memory for g in config.groups for _ in range(g.neurons)]
    return [every[n] for n in numbers]


def _places(base: Any, organ: Organ, at: int | None, insert: bool) -> list[int | None]:
    """For each of the organ's neurons the base's whose place it takes; None: a new place."""
    c, count = config_of(base), len(organ.numbers)
    if insert:
        if at is not None:
            raise InputError("inserted neurons stand behind the others; leave `at` out")
        return [None] * count
    if at is not None:
        if not 0 <= at <= c.neurons - count:
            raise InputError(f"an organ of {count} neurons can be grafted at 0 to {c.neurons - count}, not at {at}")
        taken: list[int | None] = [*range(at, at + count)]
    else:
        number = {int(one): n for n, one in enumerate(graph_of(base).ids)}
        taken = [number.get(one) for one in organ.about["ids"]]
    mine, theirs = _memories(c, range(c.neurons)), _memories(organ.config, organ.numbers)
    for place, memory in zip(taken, theirs):
        if place is not None and mine[place] != memory:
            raise InputError(
                f"the organ does not fit: its neuron has memory {memory}, and neuron {place} of the base {mine[place]}"
            )
    if None not in taken:
        _warn(base, organ, [p for p in taken if p is not None])
    return taken


def _partners(base: Any, organ: Organ, to: Sequence[int]) -> dict[int, int]:
    """Which neurons of the base are which of the donor's that are not in the organ, by their ids."""
    number = {int(one): n for n, one in enumerate(graph_of(base).ids) if n not in to}
    everyone = enumerate(organ.about["all_ids"])
    return {n: number[one] for n, one in everyone if n not in organ.numbers and one in number}


def _with_own(config: Any, base: Any, donor: Any, organ: Organ, taken: Sequence[int | None]) -> Any:
    """The new configuration with what the organ's neurons recall, and the functions of their inner maps."""
    c, own = config_of(base), organ.config
    free = iter(range(c.neurons, config.neurons))
    to = {place if place is not None else next(free): n for n, place in zip(organ.numbers, taken)}
    fields: dict[str, Any] = {}
    each = [len(r.contexts(0)) if (r := getattr(m, "recall", None)) is not None else 0 for m in (base, donor)]
    if each[0] != each[1]:
        raise InputError(
            f"the organ does not fit: its neurons recall {each[1]} contexts each, and the base's {each[0]}"
        )
    if each[0]:
        if c.recall.kind != own.recall.kind:
            raise InputError(f"the organ does not fit: its recall is {own.recall.kind}, and the base's {c.recall.kind}")
        there = [
            (own.recall, own.neurons, to[i]) if i in to else (c.recall, c.neurons, i) for i in range(config.neurons)
        ]
        fields["recall"] = recall_of(c.recall, there)
    if getattr(c.inner, "each", False):
        families = [own.inner.families[to[i]] if i in to else c.inner.families[i] for i in range(config.neurons)]
        fields["inner"] = replace(c.inner, families=families)
    return replace(config, **fields)


def _comes_back(base: Any, organ: Organ, taken: Sequence[int | None]) -> bool:
    """Whether the base is what `keep` left of the donor without these neurons."""
    ids = set(graph_of(base).ids.tolist())
    silent = getattr(config_of(base).readout, "silent", 0.0)
    lone = all(p is None for p in taken) and not ids & set(organ.about["ids"])
    return lone and ids | set(organ.about["ids"]) <= set(organ.about["all_ids"]) and silent > 0


def _counts(donor: Any, numbers: Sequence[int]) -> float:
    """What the organ's neurons count in the donor's readout."""
    read = list(config_of(donor).read)
    return float(sum(gains_of(donor)[read.index(n)] ** 2 for n in numbers if n in read))


def _remembered(donor: Any, new: Any, numbers: Sequence[int]) -> None:
    """Take back what the head, and votes, know of the places that these neurons left: they stand there again."""
    c = config_of(donor)
    if not hasattr(new, "head") or "norm.weight" not in axes_of(donor):
        return
    read = list(c.read)
    at = places(read, c.width, [n for n in numbers if n in read])
    if (bias := getattr(donor.norm, "bias", None)) is None:
        return
    gain = gains_of(donor).to(bias).repeat_interleave(c.width)[at]
    name = "bridge" if isinstance(getattr(donor, "bridge", None), torch.nn.Linear) else "head"
    for one in (name, *readers_of(new)):
        part, into = donor.get_submodule(one).weight[:, at], new.get_submodule(one)
        shift = part @ (bias[at] * gain)
        if one == "bridge":
            new.head.bias -= new.head.weight @ shift
        else:
            into.bias -= shift
        if new.config.normed_width > new.config.readout_width:
            into.weight[:, -1] -= part @ (donor.norm.weight[at] * gain)


def _put(donor: Any, new: Any, own: dict[int, int], others: dict[int, int]) -> None:
    """Copy the organ's part of every tensor: along each axis of neurons its own, along the others whom both have."""
    for module in (getattr(new, "norm", None), graph_of(new).readout):
        if (gain := getattr(module, "gain", None)) is not None:
            read, there = list(config_of(new).read), list(config_of(donor).read)
            for n, to in own.items():
                if to in read:
                    gain[read.index(to)] = gains_of(donor)[there.index(n)] if n in there else 0.0
    theirs, ours = axes_of(donor), axes_of(new)
    source, target = donor.state_dict(), new.state_dict()
    known = {to: n for n, to in {**others, **own}.items()}
    places_of = [known.get(i) for i in range(config_of(new).neurons)]
    for name, here in ours.items():
        for there, _, _ in sources(name, source, donor, new, places_of):
            axes = theirs.get(there, {})
            if axes.keys() != here.keys() and name not in ("norm.gain", "backbone.readout.gain", "readout.gain"):
                raise InputError(f"the organ does not fit: the base has another form of '{filed(name)}' than its donor")
            for axis in axes:
                _put_along(axis, source[there], target[name], axes, here, own, others, filed(name))


def _put_along(
    axis: int,
    source: Tensor,
    target: Tensor,
    axes: Axes,
    here: Axes,
    own: dict[int, int],
    others: dict[int, int],
    name: str,
) -> None:
    to, of = [], []
    for d, size in enumerate(target.shape):
        if d in axes:
            pairs = own if d == axis else {**own, **others}
            both = [p for p in pairs.items() if p[0] in axes[d][0] and p[1] in here[d][0]]
            of.append(places(*axes[d], [p[0] for p in both]))
            to.append(places(*here[d], [p[1] for p in both]))
        elif source.shape[d] == size:
            to.append(at := torch.arange(size))
            of.append(at)
        else:
            raise InputError(
                f"the organ does not fit: '{name}' has {source.shape[d]} numbers on an axis, and the base's {size}"
            )
    target[torch.meshgrid(*to, indexing="ij")] = source[torch.meshgrid(*of, indexing="ij")].to(target)
