"""States that an objective carries from batch to batch beside the model's own: in one `State`, by a label.

The trainer carries, selects rows of, and writes what `Loss.state` holds, whatever its parts are called. A part of
another state is called `label:part` in it.
"""

from __future__ import annotations

from inn.nn.state import State


def alone(state: State | None) -> State | None:
    """The model's own state, for `forward`."""
    return None if state is None else State({k: t for k, t in state.items() if ":" not in k[1]}, state.penalties)


def beside(state: State | None, label: str) -> State | None:
    """The state that is carried under a label; None where there is none yet."""
    if state is None:
        return None
    found = {(r, part[len(label) + 1 :]): t for (r, part), t in state.items() if part.startswith(f"{label}:")}
    return State(found) if found else None


def without(state: State | None, label: str) -> State | None:
    """All but what is carried under a label."""
    if state is None:
        return None
    return State({k: t for k, t in state.items() if not k[1].startswith(f"{label}:")}, state.penalties)


def joined(state: State, label: str, other: State) -> State:
    """A state with another beside it, under a label."""
    return State({**state, **{(r, f"{label}:{part}"): t for (r, part), t in other.items()}}, state.penalties)
