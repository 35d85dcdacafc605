"""Models with organs: which of them answers is chosen between the readout and the last norm."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from inn.nn.descriptors import Descriptors
from inn.nn.state import State

FIT = -2
"""Where the state keeps how well each descriptor fits what was read."""


def descriptors_of(config: Any, together: bool) -> Descriptors | None:
    """The descriptors of a model whose readout names organs, else None."""
    return Descriptors(config, together) if getattr(config.readout, "organs", []) else None


def known(model: Any, state: State, batch: int) -> State:
    """An initial state with that of the descriptors, where there are some."""
    own: Descriptors | None = model.descriptors
    return state if own is None else joined(state, own.initial_state(batch))


def told_by(
    model: Any, x: Tensor, state: State | None, after: State, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, State]:
    """What the head reads of a graph's readout `[B, T, R x D]`, normalised, and the state after it.

    Args:
        state: before, None at a start; `after`: the graph's own after it.
        reset, mask: as in `SequenceModel.forward`.
    """
    own: Descriptors | None = model.descriptors
    if own is None:
        return model.norm(x), after
    on, kept = own(x, own.initial_state(len(x)) if state is None else state.round(FIT), reset, mask)
    return model.norm(x, on), joined(after, kept)


def joined(state: State, parts: dict[str, Tensor]) -> State:
    return State({**state, **{(FIT, name): t for name, t in parts.items()}}, state.penalties)
