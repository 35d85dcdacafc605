"""Numbers as counts of spikes: what a map is given becomes whole multiples of a unit, and those become spikes.

After *SpikingBrain* (arXiv 2509.05276): a row x of n numbers has the unit V = mean|x| / k and the counts
s = round(x / V), and what is read is s V. A map of counts needs no multiplication but by V, once for each result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from inn.nn.population import NeuronLinear
from inn.system.errors import InputError, lookup


def counts(x: Tensor, k: float) -> tuple[Tensor, Tensor]:
    """Counts `[..., n]`, whole numbers as floats, and the unit of each row, `[..., 1]`, zero of a row of zeros.

    >>> counts(torch.tensor([1.0, -3.0, 0.1, 3.9]), 2)[0].tolist()
    [1.0, -3.0, 0.0, 4.0]
    """
    x = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    unit = x.abs().mean(-1, keepdim=True) / k
    return torch.where(unit == 0, 0.0, (x / unit).round()), unit


def coded(x: Tensor, k: float) -> Tensor:
    """What is left of numbers in counts of spikes, s V; backward as if it were the numbers (straight-through)."""
    s, unit = counts(x, k)
    return (s * unit).to(x.dtype) + (x - x.detach())


class SpikeCode:
    """A hook on a map: it is given what `coded` leaves of its input. `k` is the mean number of spikes of a number."""

    def __init__(self, k: float):
        self.k = k

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return coded(args[0], self.k), *args[1:]


def code(rounds: nn.Module, k: float) -> None:
    """Let all maps of a graph's rounds read counts of spikes; those that are given spikes already stay as they are."""
    for module in (m for m in rounds.modules() if isinstance(m, NeuronLinear)):
        if module not in spiking_maps(rounds):
            module.register_forward_pre_hook(SpikeCode(k))


def code_of(module: nn.Module) -> SpikeCode | None:
    """How a map's input is coded; None where it is numbers, or spikes to begin with."""
    return next((hook for hook in module._forward_pre_hooks.values() if isinstance(hook, SpikeCode)), None)


def spiking_maps(model: nn.Module) -> list[nn.Module]:
    """The maps that are given spikes, zeros and ones, by a memory that says so (`spiking`)."""
    return [getattr(m, name) for m in model.modules() for name in getattr(m, "spiking", ())]


CODES = {
    "binary": "one spike a step, those of negative counts in steps of their own",
    "ternary": "a spike of either sign a step",
    "bitwise": "a bit a step, which has the sign of the count",
    "complement": "a bit a step, in two's complement",
}
"""How counts are sent as spikes over time."""


def expanded(s: Tensor, code: str = "ternary") -> tuple[Tensor, Tensor]:
    """Counts `[...]` as spikes over time: `[T, ...]`, each -1, 0 or 1, and the weight of each step, `[T]`, all int64.

    Σ_t weight_t spike_t is the count, exactly. T is as long as these counts need, and not a step longer.

    >>> spikes, weights = expanded(torch.tensor([3, -2]), "bitwise")
    >>> spikes.tolist(), weights.tolist()
    ([[1, 0], [1, -1]], [1, 2])

    Raises `InputError` for an unknown code, and for numbers that are not whole.
    """
    lookup("spike code", code, CODES)
    if not torch.equal(s, s.round()):
        raise InputError("counts of spikes must be whole numbers; round them first")
    s, T = s.long(), steps(s, code)
    at = torch.arange(T, device=s.device).view(-1, *(1,) * s.ndim)
    if code == "binary":
        ups = int(s.max().clamp_min(0)) if s.numel() else 0
        spikes = torch.cat([s > at[:ups], -s > at[: T - ups]]).long()
        return spikes, torch.tensor([1] * ups + [-1] * (T - ups), device=s.device)
    if code == "ternary":
        return s.sign() * (s.abs() > at), torch.ones(T, dtype=torch.long, device=s.device)
    weights = 2 ** torch.arange(T, device=s.device)
    if code == "bitwise":
        return s.sign() * (s.abs() >> at & 1), weights
    return s >> at & 1, torch.cat([weights[:-1], -weights[-1:]])


def steps(s: Tensor, code: str = "ternary") -> int:
    """Steps of time that counts `[...]` are sent in, T of `expanded`."""
    if not s.numel():
        return 0
    top, bottom = max(int(s.max()), 0), max(int(-s.min()), 0)
    if code == "binary":
        return top + bottom
    if code == "ternary":
        return max(top, bottom)
    return max(top, bottom).bit_length() + (code == "complement")  # the sign's bit: there is no other room for it


def sent(s: Tensor, code: str = "ternary") -> Tensor:
    """Spikes that each count takes, `[...]` int64: those of `expanded`, which need not be made for it."""
    if code in ("binary", "ternary"):
        return s.abs().long()
    return expanded(s, code)[0].abs().sum(0)
