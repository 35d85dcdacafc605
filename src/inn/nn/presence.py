"""Neurons that are absent at a step: which parts of a graph are told, and what is skipped for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from inn.nn.masked import like
from inn.ops import causal_conv
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.memory.base import Memory

Parts = dict[str, Tensor]


class TakesPresent:
    """A part of a graph that is told which neurons are there, if its `forward` takes `present`.

    Attributes:
        takes_present: whether `forward` has a parameter `present`, `[B, T, N]` bool; found out for each class.
        takes_dt: likewise `dt`, `[B, T]`, the time since the step before.
    """

    takes_present: ClassVar[bool] = False
    takes_dt: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        forward = getattr(cls, "forward", None)
        taken = () if forward is None else signature(forward).parameters
        cls.takes_present, cls.takes_dt = "present" in taken, "dt" in taken


def check_takes_present(config: GraphConfig, rounds: Iterable[Any], readout: Any, remedy: str) -> None:
    """Raise `InputError` where a router, or the readout if given, does not know of absent neurons."""
    if readout is not None and not readout.takes_present:
        raise InputError(
            f"readout '{config.readout.kind}' does not know of absent neurons: its forward takes no `present`; "
            f"{remedy}, or use another readout"
        )
    for module in rounds:
        router = module.router
        if router is not None and router.mass is not None and not router.takes_present:
            raise InputError(
                f"router '{config.router.kind}' does not know of absent neurons: its weights have a mass to "
                f"share, and its forward takes no `present`; {remedy}, or use another router"
            )


def only_present(x: Tensor, present: Tensor | None) -> Tensor:
    """Neurons `[B, T, N, ...]`, zero where they are absent."""
    return x if present is None else x.masked_fill(~like(present, x), 0.0)


def relays(present: Tensor, places: int, passing: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Who is heard in the place of each neuron, and where anybody is: `[B, T, N]`, of who is there `[B, T, N]`.

    Who is there is heard itself. In the place of a neuron that is absent it is the last one before it, `places` at a
    time, that is there; nobody where a neuron in between is not `passing` `[N]` (None: all are), or none is there.
    """
    there = present.unflatten(2, (-1, places))
    order = torch.arange(there.shape[2], device=present.device)[:, None]
    if passing is None:
        last = torch.where(there, 2 * order + 1, 0)
    else:  # what does not pass on is the last, too: an even number, of nobody
        last = torch.where(there, 2 * order + 1, 2 * order * ~passing.view(-1, places))
    last = last.cummax(2).values
    who = last // 2 * places + torch.arange(places, device=present.device)
    return who.flatten(2), (last % 2 == 1).flatten(2)


def relayed(x: Tensor, who: Tensor, there: Tensor) -> Tensor:
    """Neurons `[B, T, N, D]`, each in the place where it is heard (`relays`); zeros where nobody is."""
    return only_present(x.gather(2, who[..., None].expand_as(x)), there)


def counted(mask: Tensor | None, present: Tensor | None) -> Tensor | None:
    """The steps that count, of a mask `[B, T]` and of who is there `[B, T, N]`: neuron by neuron, None for all steps.

    Without `present` it is the mask as it is.
    """
    if present is None or mask is None:
        return mask if present is None else present
    return present & mask[..., None]


def remember(
    memory: Memory,
    x: Tensor,
    state: Parts,
    *,
    reset: Tensor | None,
    mask: Tensor | None,
    present: Tensor,
    dt: Tensor | None = None,
    **more: Tensor,
) -> tuple[Any, ...]:
    """`memory(x, state)` in which neurons that are absent are skipped: their state passes through unchanged.

    A memory that does not take `present` reads once where the same neurons are absent at all steps (`present` is
    expanded over time), and else step by step.
    """
    timed = {} if dt is None else {"dt": dt}
    if memory.takes_present:
        return memory(x, state, reset=reset, mask=mask, present=present, **timed, **more)
    if x.shape[1] > 1 and present.stride(1) != 0:
        results, found = [], []
        for t in range(x.shape[1]):
            at = slice(t, t + 1)
            given = {"reset": reset, "mask": mask, "dt": dt}
            own: dict[str, Any] = {name: None if v is None else v[:, at] for name, v in given.items()}
            y, state, *rest = remember(memory, x[:, at], state, present=present[:, at], **own)
            results.append(y)
            found.extend(rest)
        penalties = {name: torch.stack([f[name] for f in found]).mean() for name in (found[0] if found else ())}
        return torch.cat(results, 1), state, penalties
    y, new, *found = memory(x, state, reset=reset, mask=mask, **timed, **more)
    if reset is not None:
        first, begun = memory.initial_state(1), reset.any(1)
        state = {name: torch.where(like(begun, t), first[name], t) for name, t in state.items()}
    there = present[:, 0]
    kept = {n: torch.where(like(there, t), t, state[n]) for n, t in new.items()}
    return y, kept, *found


def conv_of_present(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    state: Tensor,
    reset: Tensor | None,
    mask: Tensor | None,
    present: Tensor | None,
    conv: Callable[..., tuple[Tensor, Tensor]] = causal_conv,
) -> tuple[Tensor, Tensor]:
    """`causal_conv` whose windows hold, neuron by neuron, the steps at which the neuron was present, and no others.

    Another `conv` may take its place that is called as it is. Where `present` is None that is all that is done.

    Between two resets each neuron's steps are put in an order with those that count in front, so that the kernel
    need not know. What comes out is zero at the other steps.
    """
    if present is None:
        return conv(x, weight, bias, state, reset, mask)
    counts = counted(mask, present)
    assert counts is not None
    time, before = x.shape[1], state.shape[2]
    key = (~counts).long()
    begin = x.new_zeros(x.shape[0], 1, 1, dtype=torch.long)  # of the last stretch between resets
    if reset is not None:
        key = key + 2 * reset.cumsum(1)[..., None]
        begin = (reset * torch.arange(time, device=x.device)).amax(1)[:, None, None]
    order = key.argsort(dim=1, stable=True)[..., None].expand_as(x)
    taken = x.gather(1, order)
    y, _ = conv(taken, weight, bias, state, reset, None)
    y = torch.zeros_like(x, dtype=y.dtype).scatter(1, order, y)  # laid out in memory as x is
    if not before:
        return only_present(y, counts), state
    # The last inputs that count: those at the end of what the last stretch has in front, behind the state before it.
    past = state.to(x.dtype).transpose(1, 2)
    if reset is not None:
        past = past.masked_fill(reset.any(1)[:, None, None, None], 0.0)
    padded, places = torch.cat((past, taken), 1), torch.arange(before, device=x.device)[:, None]
    length = (counts & (torch.arange(time, device=x.device)[:, None] >= begin)).sum(1, keepdim=True)  # [B, 1, N]
    kept = padded.gather(1, (begin + length + places)[..., None].expand(-1, -1, -1, x.shape[-1]))
    if reset is not None:  # nothing from before the reset
        kept = kept.masked_fill(((length + places < before) & reset.any(1)[:, None, None])[..., None], 0.0)
    return only_present(y, counts), kept.transpose(1, 2).to(state.dtype).contiguous()
