"""What a mask or a reset takes away is taken out of a call, and nothing is made of a call that holds nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inn.nn.state import State

if TYPE_CHECKING:
    from inn.nn.arguments import Checked


def nothing(forward: Callable, module: Checked, given: Tensor, state: State | None, **options: Any) -> Any:
    """What is made of no streams or no steps: nothing, of the right shape, in the graph of gradients."""
    streams, steps = given.shape[:2]
    options = {name: value for name, value in options.items() if name not in ("recalled", "present", "dt")}
    one = given.new_zeros(1, 1, *given.shape[2:])
    if not module.symbols:
        one = one + given.sum()
    y, after = forward(module, one, None, mask=torch.zeros(1, 1, dtype=torch.bool, device=given.device), **options)
    y = y.expand(max(1, streams), max(1, steps), *y.shape[2:])[:streams, :steps]
    penalties = {name: 0 * penalty for name, penalty in after.penalties.items()}
    if streams == 0:
        return y, State({k: t[:0] for k, t in after.items()}, penalties)
    return y, State(module.initial_state(streams) if state is None else state, penalties)  # type: ignore[operator]


def sheltered(
    module: Checked, given: Tensor, state: State | None, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, State | None, Tensor | None, Tensor | None]:
    """Take out what a mask or a reset takes away, so that a NaN there reaches nothing, weights' gradients included.

    A stream whose state is not finite starts afresh where a reset comes later: what it gives
    before that is NaN, and is put there afterwards. One that does not read at all keeps its state.

    Returns what is read, the state to start from, where NaN is to be put `[B, T]`, and whose state is to be put back
    `[B]`; the last two None where there is nothing to be put.
    """
    if module.symbols and state is None:
        return given, None, None, None
    live = torch.ones_like(reset) if mask is None else mask  # type: ignore[arg-type]
    resets = torch.zeros_like(live) if reset is None else reset
    spoilt, known = torch.zeros_like(live[:, 0]), legible(given)
    parts = {} if state is None else {k: t for k, t in state.items() if t.is_floating_point() and t.numel()}
    for t in parts.values():
        spoilt = spoilt | ((t.detach().flatten(1) * 0).sum(1) != 0)
    begun = resets.cumsum(1)
    spoilt = spoilt & ((begun[:, -1] > 0) | ~live.any(1))
    lost = spoilt[:, None] & (begun == 0) & live
    if not module.symbols and reset is not None:
        # An input that is not finite spoils what follows up to the next reset.
        read = given.detach()
        bad = live & (read.isinf().any(-1) if module.gaps else ~read.isfinite().all(-1))
        count = bad.cumsum(1)
        before = torch.where(reset, count - bad.long(), 0).cummax(1).values
        lost = lost | ((count > before) & (begun < begun[:, -1:]) & live)
    if known and not bool(spoilt.any() | lost.any()):
        return given, state, None, None
    if not module.symbols:
        given = given.masked_fill(lost[..., None], 0)
    if state is None:
        return given, None, lost, None
    first = module.initial_state(1)  # type: ignore[operator]
    fresh = State({k: torch.where(like(spoilt, t), first[k], t) if k in parts else t for k, t in state.items()})
    return given, fresh, lost, spoilt & (begun[:, -1] == 0)


def legible(t: Tensor, *, anywhere: bool = False) -> bool:
    """Whether a tensor's numbers can be looked at here and now; on an accelerator that would be a wait."""
    if torch.compiler.is_compiling() or t.is_meta or type(t) not in (Tensor, nn.Parameter):
        return False
    return (anywhere or t.is_cpu) and not torch._C._are_functorch_transforms_active()


def like(rows: Tensor, t: Tensor) -> Tensor:
    """Rows `[B]`, or steps `[B, T]`, or neurons `[B, T, N]`, beside a tensor that begins with the same axes."""
    return rows.view(*rows.shape, *(1,) * (t.ndim - rows.ndim))
