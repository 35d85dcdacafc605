"""The clock: what is compared is measured in turns (A B A B ...) in one process, and summed up by medians."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.run import TrainConfig
from inn.training.optim import build_optimizer

Work = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How long a row measures.

    Attributes:
        rounds: least number of turns that everything takes.
        seconds: further turns are taken until this much time is over ...
        most: ... or this many turns are.
        sample: seconds that one reading of the clock covers at least; short work is repeated to fill them.
        product: side of the matrices whose product gives G.
    """

    rounds: int = 5
    seconds: float = 15.0
    most: int = 25
    sample: float = 0.1
    product: int = 2048


NORMAL, BRIEF = Effort(), Effort(seconds=0.0)
"""What most rows take, and what those take whose turns are long."""


@dataclass(frozen=True)
class Times:
    """Seconds per call, one reading per turn."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def to_dict(self) -> dict[str, float]:
        """Median and spread, as plain data."""
        return {"median": self.median, "least": min(self.samples), "most": max(self.samples), "n": len(self.samples)}


def in_turns(works: Mapping[str, Work], effort: Effort) -> dict[str, Times]:
    """Time every work in turns, after a warm-up call each; returns seconds per call by name.

    >>> in_turns({"a": list, "b": dict}, Effort(rounds=2, seconds=0, sample=0)).keys()
    dict_keys(['a', 'b'])
    """
    repeats = {}
    for name, work in works.items():
        first = _clock(work, 1)  # compiles kernels, maps memory, builds the optimiser's state
        again = first if first > 10 * effort.sample else _clock(work, 1)
        repeats[name] = max(1, math.ceil(effort.sample / max(again, 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in works}
    start = time.perf_counter()
    for turn in range(max(effort.rounds, effort.most)):
        if turn >= effort.rounds and time.perf_counter() - start > effort.seconds:
            break
        for name, work in works.items():
            samples[name].append(_clock(work, repeats[name]))
    return {name: Times(tuple(s)) for name, s in samples.items()}


def _clock(work: Work, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


class Product:
    """The product of two square matrices, the unit that steps are measured in: calling it computes it once."""

    def __init__(self, dtype: torch.dtype, side: int = 2048, device: torch.device | str = "cpu"):
        self.a, self.b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        self.out = torch.empty_like(self.a)
        self.flops = 2.0 * side**3

    def __call__(self) -> None:
        torch.mm(self.a, self.b, out=self.out)


def matmul_rate(dtype: torch.dtype, effort: Effort = NORMAL) -> float:
    """G by itself, in FLOPs per second; rows measure it in turns with their own work instead."""
    product = Product(dtype, effort.product)
    return product.flops / in_turns({"product": product}, effort)["product"].median


def train_step(
    model: nn.Module,
    batch: int,
    length: int,
    *,
    vocab: int,
    bf16: bool = False,
    logits: Callable[[Tensor], Tensor] | None = None,
) -> Work:
    """A training step on random symbols `[batch, length]`, on the model's device; the call returns when it is done.

    Clears gradients, forward, cross-entropy, backward, AdamW. `logits` says how the model is called where that is not
    `model(tokens)[0]`. With `bf16` the forward pass runs under autocast, as training does it.
    """
    model.train()
    device = next(model.parameters()).device
    forward = logits or (lambda tokens: model(tokens)[0])
    optimizer = build_optimizer(model, TrainConfig())
    tokens, targets = (torch.randint(vocab, (batch, length), device=device) for _ in range(2))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            out = forward(tokens)
        F.cross_entropy(out.float().flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def slope(points: Iterable[Sequence[float]]) -> float:
    """The slope of log y over log x by least squares; NaN for fewer than two points.

    >>> round(slope([(1, 3), (2, 6), (4, 12)]), 6)
    1.0
    """
    logs = [(math.log(x), math.log(y)) for x, y in points]
    if len(logs) < 2:
        return math.nan
    mean_x, mean_y = (statistics.fmean(c) for c in zip(*logs))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def spread(times: Mapping[str, Times]) -> dict[str, Any]:
    """Times by name as plain data, for a row's details."""
    return {name: t.to_dict() for name, t in times.items()}
