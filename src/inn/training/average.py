"""The average of the weights over training, which is measured and kept in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from inn.models.names import filed


class Average:
    """An exponential moving average of a model's weights: those of k steps ago count decay^k, and all together 1.

    So the first average is the first step's weights, and a short run is not held back by where it started. Buffers are
    the model's own.

    Args:
        model: the weights under training.
        decay: above 0, below 1.

    Attributes:
        of: the average of each parameter, of its shape and type.
        steps: how many steps' weights there are in it.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = Average(model, 0.5)
    >>> for value in (1.0, 4.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     average.update()
    >>> with average.applied():
    ...     model.weight.item()  # (0.5 * 1 + 4) / 1.5
    3.0
    >>> model.weight.item()
    4.0
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.names = {p: filed(name) for name, p in model.named_parameters()}
        self.of = {p: p.detach().clone() for p in self.names}

    def update(self) -> None:
        """Take in the weights as they are after a step."""
        self.steps += 1
        kept = self.decay * (1 - self.decay ** (self.steps - 1)) / (1 - self.decay**self.steps)
        values: list[Tensor] = [p.detach() for p in self.of]
        get_ema_multi_avg_fn(kept)([*self.of.values()], values, self.steps)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def applied(self) -> Iterator[dict[str, Tensor]]:
        """The model has the averages inside; what its weights are otherwise is given, by names in files."""
        weights = {name: p.detach().clone() for p, name in self.names.items()}
        try:
            self.take()
            yield weights
        finally:
            self._put(weights)

    @torch.no_grad()
    def take(self) -> None:
        """Give the model the averages for good; before the first step, its own weights."""
        for p, average in self.of.items():
            if self.steps:
                p.copy_(average)

    def restore(self, weights: Mapping[str, Tensor], steps: int) -> None:
        """Go back to a moment: the model has the averages of so many steps, and goes on with `weights`."""
        self.steps = steps
        self.of = {p: p.detach().clone() for p in self.of}
        self._put(weights)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for p, name in self.names.items():
            p.copy_(weights[name])
