"""When a loss or a gradient is no longer a number: find out where it began."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inn.nn.state import State
from inn.system.errors import InputError


class TrainingDiverged(InputError):
    """A loss, gradient, weight or state became NaN or infinite; the sentence names the step and the module."""


def first_not_finite(model: nn.Module, state: State | None, again: Callable[[], object]) -> str | None:
    """Name what was first not finite in a step: a weight, the carried state, a module's output, a gradient.

    Args:
        model: the model, its weights as they were before the step.
        state: the state the step began with.
        again: repeats the step's forward and backward pass, with the same random numbers.

    Returns None when nothing was found, for example because the accelerator does not repeat itself.
    """
    if name := not_finite(model.state_dict()):
        return f"weight '{name}'"
    if state is not None and (name := not_finite_state(state)):
        return f"the carried state ({name})"
    found: list[str] = []

    def watch_output(name: str, kind: str):
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if not found and not all(_fine(t) for t in _tensors(output)):
                found.append(f"the output of module '{name or 'model'}' ({kind})")

        return hook

    def watch_gradient(name: str):
        def hook(parameter: Tensor) -> None:
            if not found and parameter.grad is not None and not _fine(parameter.grad):
                found.append(f"the gradient of '{name}'")

        return hook

    # A module's hook runs when it is done, so the innermost one that failed speaks first; gradients arrive from the
    # loss backwards, so the first bad one is the nearest to where they broke.
    handles = [m.register_forward_hook(watch_output(n, type(m).__name__)) for n, m in model.named_modules()]
    handles += [
        p.register_post_accumulate_grad_hook(watch_gradient(n)) for n, p in model.named_parameters() if p.requires_grad
    ]
    try:
        again()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds a NaN or an infinity; None when all are finite."""
    return next((name for name, t in tensors.items() if not _fine(t)), None)


def not_finite_state(state: State) -> str | None:
    """The round and part of the first state that holds NaN or +infinity (-infinity may be an empty maximum)."""
    for (r, part), t in state.items():
        if t.is_floating_point() and bool((t.isnan() | (t == torch.inf)).any()):
            return f"round {r}, {part}"
    return None


def _fine(t: Tensor) -> bool:
    local = getattr(t, "to_local", None)  # of a tensor that processes share (DTensor), what this one holds
    t = t if local is None else local()
    return not t.is_floating_point() or bool(t.isfinite().all())


def _tensors(output: Any) -> Iterable[Tensor]:
    """The tensors of what a module returned; states are left out, their parts may hold -infinity."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _tensors(part)
