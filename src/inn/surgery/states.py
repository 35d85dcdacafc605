"""A carried state in the form of a model that has some of the neurons, or of the rounds, and perhaps others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inn.models.organs import FIT
from inn.nn.state import State
from inn.surgery.plans import starts
from inn.surgery.reading import columns_of
from inn.system.errors import InputError

_OUTSIDE = -1
"""Where a state keeps what is of no round; of descriptors, which begin afresh, it is `FIT`."""


def carried(state: State, old: Any, new: Any, rounds: Sequence[int] | None = None) -> State:
    """The state of `old` as one of `new`: neurons that both have, by their ids, go on; others start afresh.

    Args:
        state: of any number of streams.
        old, new: models; `new` was made of `old` by `inn.keep`, `inn.grow` or `inn.graft`.
        rounds: which round of `old` each of `new` is; None: the same.

    Raises `InputError` for models of different kinds, and where a mean so far is not of what the new one reads.

    >>> import inn
    >>> model, tokens = inn.INN(vocab=5, neurons=3, width=4, rounds=1), torch.arange(5)[None]
    >>> small = inn.keep(model, neurons=[0, 2])
    >>> carried(model(tokens)[1], model, small)[0, "ssm"].shape
    torch.Size([1, 2, 8, 16])
    """
    if type(old) is not type(new):
        raise InputError(f"a state of a {type(old).__name__} is none of a {type(new).__name__}")
    batch = next((len(t) for t in state.values()), 1)
    places = rounds if rounds is not None else range(old.config.rounds)
    graphs = [getattr(model, "graph", model) for model in (old, new)]
    known = {int(one): n for n, one in enumerate(graphs[0].ids)}
    found: dict[tuple[int, str], Tensor] = {}
    for (r, name), t in new.initial_state(batch).items():
        part, _, group = name.partition("@")
        there = r if r < 0 else places[r]
        if r < 0 and t.shape[:2] != (batch, new.config.neurons):  # of signals: of no neuron
            found[r, name] = t if r == FIT else _of_stream(state[r, name], t, name, graphs)
            continue
        result = t.clone()
        first = starts(new.config)[int(group)] if group else 0
        for n in range(t.shape[1]):
            place = known.get(int(graphs[1].ids[first + n]))
            key, at = (None, 0) if place is None else _place(state, old.config, there, part, place)
            if key is None:
                continue
            value = state[key][:, at]
            result = result if result.dtype == value.dtype else result.to(value.dtype)
            result = result if result.device == value.device else result.to(value.device)
            size = min(value.shape[-1], result.shape[-1]) if part == "recent" else None
            result[:, n] = value if size is None else torch.cat((result[:, n, size:], value[:, -size:]), -1)
        found[r, name] = result
    return State(found)


def beside(states: Sequence[State | None], olds: Sequence[Any], new: Any) -> State:
    """The states of models as one of `inn.merge` of these models, in their order; None starts a model's neurons afresh.

    Raises `InputError` for states of different numbers of streams, and for a mean so far of models that have one norm
    again.

    >>> import inn
    >>> a, b = (inn.INN(vocab=5, neurons=n, width=4, rounds=1) for n in (1, 2))
    >>> b.graph.ids += 1
    >>> tokens = torch.arange(5)[None]
    >>> beside([a(tokens)[1], b(tokens)[1]], [a, b], inn.merge(a, b))[0, "ssm"].shape
    torch.Size([1, 3, 8, 16])
    """
    batches = {len(t) for state in states if state is not None for t in state.values()}
    if len(batches) > 1:
        raise InputError(f"states of {' and '.join(map(str, sorted(batches)))} streams cannot be joined")
    batch = batches.pop() if batches else 1
    given = [old.initial_state(batch) if state is None else state for state, old in zip(states, olds, strict=True)]
    sizes = [old.config.neurons for old in olds]
    where = [(p, n) for p, size in enumerate(sizes) for n in range(size)]
    if len(where) != new.config.neurons:
        raise InputError(
            f"these models have {len(where)} neurons together, and the one of the state {new.config.neurons}"
        )
    found: dict[tuple[int, str], Tensor] = {}
    for (r, name), t in new.initial_state(batch).items():
        part, _, group = name.partition("@")
        if r == _OUTSIDE and t.shape[:2] != (batch, new.config.neurons):  # of signals: of no neuron
            each = [state[r, name] for state in given]
            if name == "sum" and sum(one.shape[-1] for one in each) != t.shape[-1]:
                raise InputError("'sum' of the states is a sum of what norms gave that are one norm now")
            found[r, name] = torch.cat(each, -1) if name == "sum" else each[0]
            continue
        result = t.clone()
        if r == _OUTSIDE and part == "recent":  # all read the same symbols, some more of them
            known = [s[r, name] for s, one in zip(given, states) if one is not None and (r, name) in s]
            longest = max(known, key=lambda one: one.shape[-1], default=None)
            if longest is not None:
                result[..., t.shape[-1] - longest.shape[-1] :] = longest[:, :1].to(t.device)
            found[r, name] = result
            continue
        first = starts(new.config)[int(group)] if group else 0
        for n in range(t.shape[1]):
            p, own = where[first + n]
            key, at = _place(given[p], olds[p].config, r, part, own)
            if key is None:
                continue
            value = given[p][key][:, at]
            result = result.to(value.device, value.dtype)
            if part == "table":
                result[:, n, : value.shape[1]] = value
            else:
                result[:, n] = value
        found[r, name] = result
    return State(found)


def alike(old: Any, new: Any, rounds: Sequence[int] | None = None) -> Any:
    """The new model in the old one's mode, with its vocabulary and, in its form, what it recalls of its training."""
    if hasattr(old, "vocabulary"):
        new.vocabulary = old.vocabulary
        if old.experience is not None:
            new.experience = carried(old.experience, old, new, rounds)
    return new.train(old.training)


def _place(state: State, config: Any, r: int, part: str, neuron: int) -> tuple[Any, int]:
    """Where a state has a part of a neuron; None where it has none."""
    if (r, part) in state:
        return (r, part), neuron
    first = starts(config)
    group = max(i for i, start in enumerate(first[:-1]) if start <= neuron)
    key = (r, f"{part}@{group}")
    return (key, neuron - first[group]) if key in state else (None, 0)


def _of_stream(value: Tensor, like: Tensor, name: str, graphs: list[Any]) -> Tensor:
    """A part that is no neuron's: as it is, or a sum of what the last norm gave, place by place."""
    if value.shape == like.shape:
        return value
    was, now = graphs[0].config, graphs[1].config
    if now.normed_width > now.readout_width:
        raise InputError(f"'{name}' of the state is a sum of what the norm gave, and had no part for neurons taken out")
    own = {int(graphs[0].ids[n]): i for i, n in enumerate(was.read)}
    places = columns_of(was, now, [own.get(int(graphs[1].ids[n])) for n in now.read])
    result = torch.zeros(*value.shape[:-1], like.shape[-1]).to(value)
    for i, place in enumerate(places):
        if place is not None:
            width = now.width
            result[..., i * width : (i + 1) * width] = value[..., place * width : (place + 1) * width]
    return result
