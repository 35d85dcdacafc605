"""Draws of many streams at once, each as it would be drawn alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inn.models.generate import chances, check_sampling
from inn.system.errors import InputError


@dataclass
class Draws:
    """How a stream draws its symbols, and its own source of random numbers.

    Args:
        temperature: 0 takes the likeliest symbol each time.
        top_k, top_p, seed: as in `inn.models.generate.generate`.

    Raises `InputError` for values that mean nothing.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.temperature == 0:
            self.temperature, self.top_k = 1.0, 1
        check_sampling(self.temperature, self.top_k, self.top_p)
        self.generator = torch.Generator()
        if self.seed is None:
            self.generator.seed()
        elif 0 <= self.seed < 2**63:
            self.generator.manual_seed(self.seed)
        else:
            raise InputError(f"seed must be between 0 and 2**63 - 1, not {self.seed}")


def draw(logits: Tensor, draws: Sequence[Draws]) -> list[int | None]:
    """Draw one symbol for each row of `[B, V]` logits on the CPU; None where the row is no numbers.

    Each draw is bit for bit that of `inn.models.generate.sample`, which draws from the row alone: `torch.multinomial`
    divides the probabilities by a row of exponential numbers and takes the largest, and so does this.

    >>> draw(torch.tensor([[0.0, 9.0], [9.0, 0.0]]), [Draws(0), Draws(0)])
    [1, 0]
    """
    vocab = logits.shape[-1]
    temperature = torch.tensor([[d.temperature] for d in draws], dtype=torch.float64)
    shares = chances(logits, temperature)
    if cut := [i for i, d in enumerate(draws) if d.top_k is not None or d.top_p is not None]:
        ks = [draws[i].top_k for i in cut]
        ps = [draws[i].top_p for i in cut]
        top_k = torch.tensor([[vocab if k is None else min(k, vocab)] for k in ks])
        top_p = torch.tensor([[math.inf if p is None else p] for p in ps], dtype=torch.float64)
        some_k = None if all(k is None for k in ks) else top_k
        some_p = None if all(p is None for p in ps) else top_p
        shares[cut] = chances(logits[cut], temperature[cut], some_k, some_p)
    race = torch.empty_like(shares)
    for row, d in zip(race, draws, strict=True):
        row.exponential_(1, generator=d.generator)
    taken = (shares / race).argmax(-1).tolist()
    sound = shares.isfinite().all(-1).tolist()
    return [symbol if good else None for symbol, good in zip(taken, sound, strict=True)]
