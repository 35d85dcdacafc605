"""What a single input leaves behind: the impulse response of a memory, or of a whole graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inn.nn.graph import Graph
from inn.nn.memory.base import Memory
from inn.nn.modes import evaluating
from inn.system.errors import InputError


@dataclass(frozen=True)
class ImpulseResponse:
    """What an impulse at the first step has changed, after each of some steps.

    Attributes:
        times: `[K]` steps read, the one of the impulse among them: 1 is right after it.
        output: `[K, B, N, D]` the change of what comes out at that step.
        state: the change of each part of the state after that step, `[K, B, N, ...]`; by name, of a graph by
            (round, name).
    """

    times: list[int]
    output: Tensor
    state: dict[Any, Tensor]


@torch.no_grad()
def impulse_response(
    of: Memory | Graph, x: Tensor, impulse: Tensor, times: Sequence[int] | None = None
) -> ImpulseResponse:
    """Read inputs twice from a fresh state, once with an impulse added to the first step, and take the difference.

    Silence shows what a memory does by itself; one that chooses by its input what it keeps and tells (Mamba and its
    kin) shows what it does with inputs `x` as they occur.

    Args:
        of: a memory; or a graph (`model.graph`), whose output are the neurons after the last round.
        x: `[B, T, N, I]` the inputs without it, zeros for silence; I is D, or behind a router into the memory what that
            hands over.
        impulse: `[N, I]` what is added to the first step.
        times: steps after which to look, rising, from 1 to T; all of them when not given.

    Raises `InputError` for shapes that do not fit, and for times that do not rise or go beyond T.

    >>> from inn import graph_config
    >>> from inn.nn.memory.gru import GRU
    >>> memory = GRU(graph_config(neurons=2, width=4, memory="gru", router="none"))
    >>> found = impulse_response(memory, torch.zeros(1, 50, 2, 4), torch.ones(2, 4), times=[1, 10, 50])
    >>> found.output.shape, found.state["h"].shape
    (torch.Size([3, 1, 2, 4]), torch.Size([3, 1, 2, 4]))
    """
    if x.ndim != 4 or impulse.shape != x.shape[2:]:
        raise InputError(
            f"an impulse must be [N, I] and inputs [B, T, N, I], not {list(impulse.shape)} and {list(x.shape)}"
        )
    times = list(range(1, x.shape[1] + 1) if times is None else times)
    if not times or times != sorted(set(times)) or not 1 <= times[0] <= times[-1] <= x.shape[1]:
        raise InputError(f"times must rise from 1 to the {x.shape[1]} steps of the inputs, unlike {times[:8]}")
    both = torch.cat((x, x))
    both[: len(x), 0] += impulse
    state: Any = of.initial_state(len(both))
    run = of.run if isinstance(of, Graph) else of
    outputs, parts, at = [], [], 0
    with evaluating(of):
        for time in times:
            y, state, *_ = run(both[:, at:time], state)
            outputs.append(_change(y[:, -1]))
            parts.append({key: _change(t) for key, t in state.items() if t.is_floating_point()})
            at = time
    changes = {key: torch.stack([part[key] for part in parts]) for key in parts[0]}
    return ImpulseResponse(times, torch.stack(outputs), changes)


def _change(t: Tensor) -> Tensor:
    """What differs between the first half of the streams and the second."""
    disturbed, plain = t.chunk(2)
    return disturbed - plain
