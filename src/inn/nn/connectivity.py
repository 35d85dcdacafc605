"""Who listens to whom, as a recording has it: a matrix, or of a large sparse graph a number for each edge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inn.nn.topology.edges import as_matrix


@dataclass(frozen=True)
class Connectivity:
    """Mean routing weights of a recording.

    Attributes:
        weights: `[R, N_to, N_from]` mean over batch, time and heads, by round; where they are sizes, root mean squares.
            Of a large graph whose edges are listed `[R, N_to, K]`.
        symbols: neuron-free count of symbols the mean was taken over.
        sources: `[N_to, K]` the neurons that listed edges come from; None where weights are a matrix.
    """

    weights: Tensor
    symbols: int
    sources: Tensor | None = None

    @property
    def neurons(self) -> int:
        return self.weights.shape[1]

    def dense(self) -> Tensor:
        """The weights as matrices, `[R, N_to, N_from]`.

        >>> Connectivity(torch.ones(1, 2, 1), 1, torch.tensor([[1], [0]])).dense().tolist()
        [[[0.0, 1.0], [1.0, 0.0]]]
        """
        return self.weights if self.sources is None else as_matrix(self.weights, self.sources)

    def received(self) -> Tensor:
        """Attention that each neuron receives, averaged over listeners and rounds, `[N]`; 1 is the average neuron.

        >>> Connectivity(torch.full((2, 4, 4), 0.25), 1).received().tolist()
        [1.0, 1.0, 1.0, 1.0]
        """
        if self.sources is None:
            total = self.weights.mean((0, 1))
        else:
            each = self.weights.mean(0).flatten() / self.neurons
            total = each.new_zeros(self.neurons).index_add(0, self.sources.flatten(), each)
        return total / total.mean().clamp_min(torch.finfo(total.dtype).tiny)

    def hubs(self, threshold: float = 1.5) -> list[int]:
        """Neurons that receive more than `threshold` times the average attention (arXiv 2511.22813, A.3)."""
        return (self.received() > threshold).nonzero().flatten().tolist()

    def specialists(self, threshold: float = 0.6) -> list[int]:
        """Neurons that receive less than `threshold` times the average attention (arXiv 2511.22813, A.3)."""
        return (self.received() < threshold).nonzero().flatten().tolist()
