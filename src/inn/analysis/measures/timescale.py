"""How long a neuron remembers: by a perturbation of its state, and by the time constants of its memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inn.nn.graph import Graph
from inn.nn.modes import evaluating
from inn.nn.state import Key, State
from inn.system.errors import InputError

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HORIZON = 512
"""Symbols that a perturbation is followed for."""
_SILENT = 1e-12
"""A state no larger than this has nothing to be perturbed."""


@torch.no_grad()
def decay(
    graph: Graph, x: Tensor, state: State, neurons: Sequence[int], times: Sequence[int], part: str | None = None
) -> Tensor:
    """What is left of a perturbation of one neuron's state, 1 at the start: `[neurons, times]`.

    Perturbed is the neuron's memory in every round: it becomes that of another stream, which has read another text, so
    that size and direction are those of states that occur. Everything else is as it was, and the same symbols follow.
    What is left after k symbols is ‖s'_k - s_k‖ / ‖s'_0 - s_0‖ of the neuron's own state, averaged over streams and
    rounds; what comes back to it through the others is counted in. A neuron whose state is the same in every stream has
    none to exchange, nor has one without a memory: NaN.

    Args:
        graph: the graph alone, without embedding and recall.
        x: `[B, T, N, D]` its inputs, B >= 2.
        state: before the first of them.
        neurons: which to perturb, one after the other.
        times: symbols after the perturbation, rising, none above T.
        part: of the state, a tensor `[B, N, ...]` in each round; when not given, the one that the memory lives in.

    Raises `InputError` for a single stream, for times that do not rise or go beyond T, and for a state without `part`.
    """
    _check(graph, x)
    B = x.shape[0]
    if B < 2:
        raise InputError("a state is exchanged with another stream's; give at least 2 streams")
    if list(times) != sorted(set(times)) or not times or times[0] < 1 or times[-1] > x.shape[1]:
        raise InputError(f"times {list(times)} must rise within the {x.shape[1]} symbols that follow")
    places = {n: _places(graph, n, part) for n in neurons}
    if missing := [key[1] for keys in places.values() for key, _ in keys if key not in state]:
        raise InputError(f"there is no '{missing[0]}' in the state; its parts: {sorted({name for _, name in state})}")
    each = {}
    for key, t in state.items():  # the undisturbed streams, and one copy of them for each neuron
        copies = [t]
        for n in neurons:
            other = t.clone()
            for place, at in places[n]:
                if place == key:
                    other[:, at] = t.roll(1, 0)[:, at]
            copies.append(other)
        each[key] = torch.cat(copies)
    wide = x.repeat(1 + len(neurons), 1, 1, 1)
    found, now, at = [], State(each), 0
    first = _distances(now, places, B)
    with evaluating(graph):
        for time in times:
            _, now = graph.run(wide[:, at:time], now)
            at = time
            found.append(_distances(now, places, B))
    moved = first > _SILENT  # [n, R, B]
    left = torch.stack([torch.where(moved, d / first.clamp_min(_SILENT), torch.nan) for d in found], -1)
    return left.flatten(1, 2).nanmean(1)


def _places(graph: Graph, neuron: int, part: str | None) -> list[tuple[Key, int]]:
    """Where a neuron's state is, round by round: the key, and the place on its second axis; none without a memory."""
    found = []
    for r in range(graph.config.rounds):
        place = graph.round(r).memory.place(neuron) if part is None else (part, neuron)
        found += [] if place is None else [((r, place[0]), place[1])]
    return found


def _distances(state: State, places: dict[int, list[tuple[Key, int]]], B: int) -> Tensor:
    """`[neurons, R, B]` how far each perturbed neuron's state is from the undisturbed one."""
    found, most = [], max((1, *map(len, places.values())))
    nothing = [torch.zeros(B * (len(places) + 1), 1, dtype=torch.double)] * most
    for i, keys in enumerate(places.values()):
        rounds = [state[key][:, at].double().flatten(1) for key, at in keys] or nothing
        found.append(torch.stack([(t[(i + 1) * B : (i + 2) * B] - t[:B]).norm(dim=-1) for t in rounds]))
    return torch.stack(found)


def half_life(left: Sequence[float], times: Sequence[int]) -> float | None:
    """Symbols until half of a perturbation is left, for the first time; None where that is not reached, or not known.

    Between two times it is taken to decay exponentially. `left` is a row of `decay`.

    >>> half_life([0.5**0.25, 0.25], [1, 8])
    4.0
    >>> half_life([0.9, 0.8], [1, 3]) is None
    True
    """
    before, at = 1.0, 0
    for value, time in zip(left, times, strict=True):
        if math.isnan(value):
            return None
        if value <= 0.5:
            if value <= 0 or before <= value:
                return float(time)
            return at + (time - at) * math.log(before / 0.5) / math.log(before / value)
        before, at = value, time
    return None


def half_lives(graph: Graph, x: Tensor, state: State, horizon: int = HORIZON) -> list[float | None]:
    """The half-life of a perturbation of each neuron's state, in symbols; see `decay` for the arguments.

    None: more than half is left after the `horizon` (or the inputs' end), or there is no state to perturb.
    """
    times, k = [], 1.0
    while k <= min(horizon, x.shape[1]):
        if not times or int(k) > times[-1]:
            times.append(int(k))
        k *= 2**0.5
    found: list[float | None] = []
    size = max(1, 64 // x.shape[0])
    for at in range(0, graph.config.neurons, size):
        some = range(at, min(at + size, graph.config.neurons))
        found += [half_life(row, times) for row in decay(graph, x, state, some, times).tolist()]
    return found


@torch.no_grad()
def time_constants(graph: Graph, x: Tensor, state: State | None = None) -> Tensor | None:
    """Time constants of each neuron's memory in symbols, `[N, R x E x S]`; None for memories without any.

    Each memory tells its own over what it takes in of `x` `[B, T, N, D]`; see `Mamba.time_constants`.
    """
    _check(graph, x)
    found: list[Tensor | None] = []

    def note(module: nn.Module, args: tuple, kwargs: dict) -> None:
        found.append(module.time_constants(args[0], args[1]))  # type: ignore[operator]

    hooks = [r.memory.register_forward_pre_hook(note, with_kwargs=True) for r in graph.rounds]  # type: ignore[union-attr]
    try:
        with evaluating(graph):
            graph.run(x, state)
    finally:
        for hook in hooks:
            hook.remove()
    if not found or any(t is None for t in found):
        return None
    return torch.stack([t for t in found if t is not None], 1).flatten(1)


def _check(graph: Graph, x: Tensor) -> None:
    """Raise `InputError` where `x` is not what a graph's neurons take in, `[B, T, N, D]`."""
    n, d = graph.config.neurons, graph.config.width
    if x.ndim != 4 or x.shape[2:] != (n, d):
        raise InputError(f"neurons take in [batch, time, {n}, {d}], not {list(x.shape)}; graph.distribute makes it")


def spectrum(constants: Tensor) -> list[list[float]]:
    """The 5, 25, 50, 75 and 95 % quantiles of each neuron's time constants `[N, ...]`.

    >>> spectrum(torch.arange(101.0)[None])
    [[5.0, 25.0, 50.0, 75.0, 95.0]]
    """
    at = torch.tensor(QUANTILES, dtype=constants.dtype)
    return constants.flatten(1).quantile(at, dim=1).T.tolist()
