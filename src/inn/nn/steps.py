"""What a call is told of its steps, checked: masks, resets, which neurons are there, the time that has passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inn.nn.masked import legible
from inn.system.errors import InputError


def flags(name: str, t: Any, given: Tensor, shape: Sequence[int] = (), form: str = "[B, T]") -> Tensor:
    """A mask or resets, `[B, T]`, as bool; raises `InputError` for other shapes, devices and numbers than 0 and 1."""
    shape = [*(shape or given.shape[:2])]
    if not isinstance(t, Tensor):
        raise InputError(f"{name} must be a tensor {form} of bool, here {shape}, not {named(t)}")
    if [*t.shape] != shape:
        raise InputError(f"{name} must be {form}, here {shape}, not {list(t.shape)}")
    if t.device != given.device:
        raise InputError(f"{name} is on {t.device}, what it is of on {given.device}; move it with .to(...)")
    if t.dtype != torch.bool:
        on = t == 1
        # Nobody who is in a hurry gives other numbers than bool, so that the look at them may wait for a GPU.
        if legible(t, anywhere=True) and not bool((on | (t == 0)).all()):
            raise InputError(f"{name} must be bool, or numbers that are all 0 or 1; make it bool by a comparison")
        t = on
    return t


def presence(t: Any, given: Tensor, neurons: int) -> Tensor:
    """Which neurons are there, `[B, T, N]` bool, of that or of `[B, N]`; raises `InputError` as `flags` does."""
    streams, steps = given.shape[:2]
    if isinstance(t, Tensor) and t.ndim == 2:
        return flags("present", t, given, (streams, neurons), "[B, T, N] or [B, N]")[:, None].expand(-1, steps, -1)
    return flags("present", t, given, (streams, steps, neurons), "[B, T, N] or [B, N]")


def durations(t: Any, given: Tensor, mask: Tensor | None) -> Tensor:
    """Times since the step before, `[B, T]`, in float32 or float64; `InputError` for others than numbers from 0 on."""
    shape = [*given.shape[:2]]
    if not isinstance(t, Tensor) or [*t.shape] != shape:
        found = list(t.shape) if isinstance(t, Tensor) else named(t)
        raise InputError(f"dt must be [B, T], the time since the step before, here {shape}, not {found}")
    if t.device != given.device:
        raise InputError(f"dt is on {t.device}, what it is of on {given.device}; move it with .to(...)")
    t = t.to(torch.promote_types(t.dtype, torch.float32))
    t = t if mask is None else t.masked_fill(~mask, 1)
    if legible(t) and t.numel() and not bool(((t >= 0) & t.isfinite()).all()):
        raise InputError("dt must be finite and 0 or more, the time since the step before; sort the steps by time")
    return t


def named(value: Any) -> str:
    """What a value is, for a sentence."""
    return "None" if value is None else f"a {type(value).__name__}"
