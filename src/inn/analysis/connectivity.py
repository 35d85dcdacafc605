"""Who listens to whom, on average: routing weights as a graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Connectivity:
    """Mean routing weights of a recording.

    Attributes:
        weights: `[R, N_to, N_from]` mean over batch, time and heads, by round.
        symbols: neuron-free count of symbols the mean was taken over.
    """

    weights: Tensor
    symbols: int

    def received(self) -> Tensor:
        """Attention that each neuron receives, averaged over listeners and rounds, `[N]`; 1 is the average neuron.

        >>> Connectivity(torch.full((2, 4, 4), 0.25), 1).received().tolist()
        [1.0, 1.0, 1.0, 1.0]
        """
        total = self.weights.mean((0, 1))
        return total / total.mean().clamp_min(torch.finfo(total.dtype).tiny)

    def hubs(self, threshold: float = 1.5) -> list[int]:
        """Neurons that receive more than `threshold` times the average attention (arXiv 2511.22813, A.3)."""
        return (self.received() > threshold).nonzero().flatten().tolist()

    def specialists(self, threshold: float = 0.6) -> list[int]:
        """Neurons that receive less than `threshold` times the average attention (arXiv 2511.22813, A.3)."""
        return (self.received() < threshold).nonzero().flatten().tolist()
