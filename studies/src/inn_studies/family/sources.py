"""Markov sources with symbols of their own, models trained on them, and models trained on one each side by side."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import inn
from inn.data.examples import Examples

SYMBOLS, LENGTH, ROWS = 8, 32, 16
NEURONS, WIDTH, RATE = 4, 8, 1e-2
"""Of a model of one source."""


def source(k: int, seed: int, count: int = 200) -> Examples:
    """Sequences of source k, whose symbols are the eight from 8 k on."""
    task: Any = inn.task("markov", sources=1, symbols=SYMBOLS, length=LENGTH, tables=k)
    drawn = task.draw(np.random.default_rng([seed, k]), count)
    return Examples(drawn.inputs + SYMBOLS * k, drawn.targets + SYMBOLS * k, drawn.starts)


def sources(count: int, seed: int) -> dict[str, Examples]:
    """One data set of each source."""
    return {f"source {k}": source(k, seed) for k in range(count)}


def made(count: int, neurons: int, seed: int) -> Any:
    """An INN for so many sources, every neuron with weights of its own."""
    torch.manual_seed(seed)
    return inn.INN(vocab=SYMBOLS * count, neurons=neurons, width=WIDTH, rounds=1, recall="none", weights="separate")


def trained(
    model: Any, data: Mapping[str, Examples], steps: int, seed: int, masks: Mapping[str, torch.Tensor] | None = None
) -> Any:
    """The model after some steps on all data sets alike; `masks` are factors on gradients, by parameter."""
    torch.manual_seed(seed)
    optimizer, rng = torch.optim.Adam(model.parameters(), RATE), np.random.default_rng(seed)
    model.train()
    for _ in range(steps):
        loss = 0.0
        for examples in data.values():
            x, y, _ = examples.take(rng.integers(0, len(examples), ROWS)).padded()
            loss = loss + model.loss(model(torch.from_numpy(x))[0], torch.from_numpy(y)) / y.size
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        for name, p in model.named_parameters():
            if masks is not None and p.grad is not None:
                p.grad.mul_(masks[name])
        optimizer.step()
    return model.eval()


def side_by_side(count: int, steps: int, seed: int) -> Any:
    """A model of as many parts, each trained on one source alone, and then merged."""
    parts = []
    for k in range(count):
        data = {"own": source(k, 100 + seed, 400)}
        parts.append(trained(made(count, NEURONS, 10 * seed + k), data, steps, seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that neurons get ids of their own
        return inn.merge(*parts)


def at_once(count: int, steps: int, seed: int) -> Any:
    """A model as large, trained on all sources at once, every neuron hearing every other."""
    data = {name: source(k, 100 + seed, 400) for k, name in enumerate(sources(count, seed))}
    return trained(made(count, NEURONS * count, seed), data, steps, seed)


def apart(bits: torch.Tensor) -> float:
    """How many times the least that a part's own data set loses without it the most is that another loses, `[G, G]`."""
    own, others = bits.diagonal(), bits[~torch.eye(len(bits), dtype=torch.bool)]
    return float(own.min() / others.max().clamp_min(1e-9))
