"""A recurrent layer inside `nn.Sequential`: its output without its state, over all steps or at the last one."""

from __future__ import annotations

from torch import Tensor, nn

from inn.nn.state import State


class Outputs(nn.Module):
    """A layer that returns its output alone, `[B, T, F]` -> `[B, T, G]`; each call starts from a fresh state.

    Args:
        layer: what returns an output and a state: an `inn.Graph`, an `nn.LSTM` with `batch_first`.

    >>> import torch
    >>> from inn import Graph
    >>> graph = Graph(neurons=4, width=8)
    >>> model = nn.Sequential(nn.Linear(3, graph.in_features), Outputs(graph), nn.Linear(graph.out_features, 1))
    >>> model(torch.randn(2, 10, 3)).shape
    torch.Size([2, 10, 1])
    """

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, state: State | None = None, **options: Tensor) -> Tensor:
        """Run the layer over x `[B, T, F]`; `options` (`mask`, `reset`) are the layer's."""
        return self.layer(x, state, **options)[0]


class Last(Outputs):
    """A layer that returns its output at the last step that counts, `[B, T, F]` -> `[B, G]`.

    >>> import torch
    >>> from inn import Graph
    >>> graph = Graph(neurons=4, width=8)
    >>> classifier = nn.Sequential(nn.Linear(3, graph.in_features), Last(graph), nn.Linear(graph.out_features, 5))
    >>> classifier(torch.randn(2, 10, 3)).shape
    torch.Size([2, 5])
    """

    def forward(
        self, x: Tensor, state: State | None = None, *, mask: Tensor | None = None, **options: Tensor
    ) -> Tensor:
        """Run the layer over x `[B, T, F]`; `mask` `[B, T]` says which steps count, the last of which is taken.

        A row without any such step gives zeros.
        """
        if mask is None:
            return super().forward(x, state, **options)[:, -1]
        y = super().forward(x, state, mask=mask, **options)
        counts = mask.bool()
        last = counts.int().cumsum(1).argmax(1)  # the first step at which all that count have been counted
        picked = y.gather(1, last[:, None, None].expand(-1, 1, y.shape[-1])).squeeze(1)
        return picked.masked_fill(~counts.any(1, keepdim=True), 0.0)
