"""How long a neuron remembers: by a perturbation of its state, and by the time constants of its memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.inference.evaluate import evaluating
from inn.nn.graph import Graph
from inn.nn.memory.mamba import Mamba
from inn.nn.state import State
from inn.system.errors import InputError

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HORIZON = 512
"""Symbols that a perturbation is followed for."""
_SILENT = 1e-12
"""A state no larger than this has nothing to be perturbed."""


@torch.no_grad()
def decay(
    graph: Graph, x: Tensor, state: State, neurons: Sequence[int], times: Sequence[int], part: str = "ssm"
) -> Tensor:
    """What is left of a perturbation of one neuron's state, 1 at the start: `[neurons, times]`.

    Perturbed is the neuron's memory in every round: it becomes that of another stream, which has read another text, so
    that size and direction are those of states that occur. Everything else is as it was, and the same symbols follow.
    What is left after k symbols is ‖s'_k - s_k‖ / ‖s'_0 - s_0‖ of the neuron's own state, averaged over streams and
    rounds; what comes back to it through the others is counted in. A neuron whose state is the same in every stream has
    none to exchange: NaN.

    Args:
        graph: the graph alone, without embedding and recall.
        x: `[B, T, N, D]` its inputs, B >= 2.
        state: before the first of them.
        neurons: which to perturb, one after the other.
        times: symbols after the perturbation, rising, none above T.
        part: of the state, a tensor `[B, N, ...]` in each round.

    Raises `InputError` for a single stream, for times that do not rise or go beyond T, and for a state without `part`.
    """
    B = x.shape[0]
    if B < 2:
        raise InputError("a state is exchanged with another stream's; give at least 2 streams")
    if list(times) != sorted(set(times)) or not times or times[0] < 1 or times[-1] > x.shape[1]:
        raise InputError(f"times {list(times)} must rise within the {x.shape[1]} symbols that follow")
    rounds = [r for r in range(graph.config.rounds) if (r, part) in state]
    if not rounds:
        raise InputError(f"there is no '{part}' in the state; its parts: {sorted({name for _, name in state})}")
    each = {}
    for key, t in state.items():  # the undisturbed streams, and one copy of them for each neuron
        copies = [t]
        for n in neurons:
            other = t.clone()
            if key[1] == part:
                other[:, n] = t.roll(1, 0)[:, n]
            copies.append(other)
        each[key] = torch.cat(copies)
    wide = x.repeat(1 + len(neurons), 1, 1, 1)
    found, now, at = [], State(each), 0
    first = _distances(now, rounds, part, B, neurons)
    with evaluating(graph):
        for time in times:
            _, now = graph.run(wide[:, at:time], now)
            at = time
            found.append(_distances(now, rounds, part, B, neurons))
    moved = first > _SILENT  # [n, R, B]
    left = torch.stack([torch.where(moved, d / first.clamp_min(_SILENT), torch.nan) for d in found], -1)
    return left.flatten(1, 2).nanmean(1)


def _distances(state: State, rounds: list[int], part: str, B: int, neurons: Sequence[int]) -> Tensor:
    """`[neurons, R, B]` how far each perturbed neuron's state is from the undisturbed one."""
    by_round = []
    for r in rounds:
        t = state[r, part].double().flatten(2)
        by_round.append(
            torch.stack([(t[(i + 1) * B : (i + 2) * B, n] - t[:B, n]).norm(dim=-1) for i, n in enumerate(neurons)])
        )
    return torch.stack(by_round, 1)


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
    part = "ssm" if (0, "ssm") in state else next((name for (r, name), t in state.items() if r == 0), "ssm")
    found: list[float | None] = []
    size = max(1, 64 // x.shape[0])
    for at in range(0, graph.config.neurons, size):
        some = range(at, min(at + size, graph.config.neurons))
        found += [half_life(row, times) for row in decay(graph, x, state, some, times, part).tolist()]
    return found


@torch.no_grad()
def time_constants(graph: Graph, x: Tensor, state: State | None = None) -> Tensor | None:
    """Time constants of each neuron's memory in symbols, `[N, R x E x S]`; None for memories without any.

    A state number of a selective state space decays by exp(Δ A) at every symbol (Gu & Dao 2023, arXiv 2312.00752,
    equation 4); here τ = 1 / (Δ |A|), with Δ = softplus(dt) averaged over the symbols of `x` `[B, T, N, D]`.
    """
    steps: list[tuple[Mamba, Tensor]] = []

    def note(memory: Mamba):
        def hook(module: nn.Module, args: tuple, result: Tensor) -> None:
            steps.append((memory, F.softplus(result.double()).mean((0, 1))))  # [N, E]

        return hook

    memories = [m for m in graph.rounds.modules() if isinstance(m, Mamba)]
    hooks = [m.dt_proj.register_forward_hook(note(m)) for m in memories]
    try:
        with evaluating(graph):
            graph.run(x, state)
    finally:
        for hook in hooks:
            hook.remove()
    if not steps:
        return None
    found = [1 / (dt[..., None] * m.A_log.double().exp()).clamp_min(1e-300) for m, dt in steps]  # [N, E, S]
    return torch.stack(found, 1).flatten(1)


def spectrum(constants: Tensor) -> list[list[float]]:
    """The 5, 25, 50, 75 and 95 % quantiles of each neuron's time constants `[N, ...]`.

    >>> spectrum(torch.arange(101.0)[None])
    [[5.0, 25.0, 50.0, 75.0, 95.0]]
    """
    at = torch.tensor(QUANTILES, dtype=constants.dtype)
    return constants.flatten(1).quantile(at, dim=1).T.tolist()
