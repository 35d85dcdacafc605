"""Weights over the numbers of a ring, in frequencies: how few each neuron uses, and whether its phases fit together.

A network that adds modulo p has weights that are waves over 0 to p - 1. `ipr` after *To grok or not to grok* (arXiv
2310.13061), `phases` after *On the Mechanism and Dynamics of Modular Addition* (arXiv 2602.16849).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inn.system.errors import InputError

SHARE = 0.5
"""Share of its power that a neuron has at one frequency in all its weights, at least, to be one of that frequency."""


def ipr(weights: Tensor) -> Tensor:
    """How few frequencies weights are made of: the inverse participation ratio, 1 where there is one alone.

    Σ_f (|F_f| / ‖F‖)⁴ of the real Fourier transform F over the last axis. Of p weights drawn at random it is about
    4 / p; weights that are all zero have 0.

    Args:
        weights: `[..., p]`, over the numbers 0 to p - 1.

    Returns `[...]` float64. Raises `InputError` for fewer than 3 numbers.

    >>> at = torch.arange(97) * 2 * math.pi / 97
    >>> [round(float(ipr(w)), 3) for w in (torch.cos(5 * at + 1), torch.cos(5 * at) + torch.cos(9 * at))]
    [1.0, 0.5]
    """
    power = _spectrum(weights).abs().square()
    return power.square().sum(-1) / power.sum(-1).square().clamp_min(torch.finfo(torch.float64).tiny)


@dataclass(frozen=True)
class Phases:
    """The frequency of each of n neurons, and what their phases have to do with one another.

    Attributes:
        frequencies: `[n]` int64, from 1: where each has most power, over both inputs and the output.
        single: `[n]` bool: whether both inputs and the output have their largest power there, and at least half of it.
        misaligned: `[n]` float64, |φ_U + φ_V - φ_W| in radians, 0 to π, at that frequency: 0 where the wave that the
            neuron makes of its inputs is the wave that it writes; π / 2 on average where phases are drawn at random.
        resultants: frequency -> |mean of e^{i(φ_U - φ_V)}| over its neurons: near 0 where they stand evenly round the
            ring, so that what depends on one input alone cancels.
        possible: how many frequencies there are, (p - 1) / 2 rounded down; 0, which is the mean, is none.
    """

    frequencies: Tensor
    single: Tensor
    misaligned: Tensor
    resultants: dict[int, float]
    possible: int

    @property
    def used(self) -> int:
        """How many frequencies have a neuron of that frequency alone."""
        return len(set(self.frequencies[self.single].tolist()))

    @property
    def median(self) -> float:
        """The median of `misaligned` over the neurons of one frequency; π / 2 where there are none."""
        return float(self.misaligned[self.single].median()) if bool(self.single.any()) else math.pi / 2


def phases(u: Tensor, v: Tensor, w: Tensor) -> Phases:
    """The frequencies and phases of neurons that read two numbers and write one.

    Args:
        u, v: `[n, p]`, the weights of n neurons to the first and to the second number (the same where both are read
            by the same weights).
        w: `[n, p]`, their weights to the answer.

    Raises `InputError` where the shapes differ, and for fewer than 3 numbers.

    >>> at = torch.arange(97) * 2 * math.pi / 97
    >>> found = phases(*(torch.cos(5 * at + phi)[None] for phi in (0.5, 1.0, 1.5)))
    >>> found.frequencies.tolist(), found.single.tolist(), round(found.median, 6)
    ([5], [True], 0.0)
    """
    shapes = [list(of.shape) for of in (u, v, w)]
    if len(shapes[0]) != 2 or shapes[1:] != shapes[:1] * 2:
        raise InputError(f"phases take weights [n, p] of one shape, not {', '.join(map(str, shapes))}")
    waves = torch.stack([_spectrum(of)[:, 1:] for of in (u, v, w)])  # [3, n, frequencies]
    p = u.shape[1]
    waves = waves[..., : (p - 1) // 2]  # of an even p, the last has no phase
    power = waves.abs().square()
    shares = power / power.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    best = shares.sum(0).argmax(-1)
    single = ((shares.argmax(-1) == best) & (shares.amax(-1) >= SHARE)).all(0)
    angle = waves.gather(-1, best.expand(3, -1)[..., None])[..., 0].angle()
    off = angle[0] + angle[1] - angle[2]
    apart = torch.polar(torch.ones_like(off), angle[0] - angle[1])
    found = {int(k) + 1: float(apart[(best == k) & single].mean().abs()) for k in best[single].unique()}
    return Phases(best + 1, single, torch.atan2(off.sin(), off.cos()).abs(), found, (p - 1) // 2)


def _spectrum(weights: Tensor) -> Tensor:
    if weights.ndim < 1 or weights.shape[-1] < 3:
        raise InputError(f"weights {list(weights.shape)} are over fewer than 3 numbers; give [..., p]")
    return torch.fft.rfft(weights.detach().double())
