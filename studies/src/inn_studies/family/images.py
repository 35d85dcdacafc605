"""Fashion-MNIST whole, an image a step, for entries that learn one kind of it after another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

import inn
from inn.data.examples import Examples
from inn.data.tasks.base import task
from inn.data.tasks.fashion import Fashion, FashionOptions
from inn.registry import register

MEAN, SCALE = 0.286, 0.353
"""Of all pixels. One scale for all: those at the rim are nearly constant, and would be blown up by their own."""
PIXELS = 784


@cache
def whole(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `[n, 28, 28]` and their classes `[n]`."""
    found = task("fashion").part(part)
    assert found is not None
    return found.inputs.reshape(-1, 28, 28), found.targets.reshape(-1, 28)[:, -1]


def examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    """Images `[n, ...]` as sequences of one step."""
    x = np.ascontiguousarray(images, dtype=np.float32).reshape(len(images), 1, PIXELS)
    return Examples.equal(x, labels[:, None].astype(np.int64))


def network(seed: int, **fields: Any) -> Any:
    """A fresh model of images, with the scale of all pixels."""
    torch.manual_seed(seed)
    own = {"features": PIXELS, "outputs": 10, "head": "classes", "memory": "none", "router": "none", **fields}
    model = inn.build_model(inn.model_config("signal", **own))
    model.input_mean.fill_(MEAN)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    model.input_scale.fill_(SCALE)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    return model


@dataclass
class PermutedOptions(FashionOptions):
    """Images of clothes whose pixels are in another order."""

    number: int = 0
    """Which order; 0: their own."""
    images: int = 4000
    """To train on."""


@register("task", "permuted-fashion")
class Permuted(Fashion):
    """Which of ten sorts of clothing an image shows whose pixels are in another order, the same for all images."""

    Options = PermutedOptions

    @property
    def channels(self) -> list[str]:
        return [f"pixel{i}" for i in range(PIXELS)]

    def part(self, name: str) -> Examples:
        x, y = whole(name)
        count = {"train": self.options.images, "valid": 500, "test": 2000}[name]
        x, number = x[:count].reshape(-1, PIXELS), self.options.number
        order = np.random.default_rng(number).permutation(PIXELS) if number else np.arange(PIXELS)
        return examples(x[:, order], y[:count])
