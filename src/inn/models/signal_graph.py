"""The graph of neurons on signals, and the graph of one neuron, which is a stack of Mamba blocks."""

from __future__ import annotations

from torch import Tensor, nn

from inn.config.signals import SignalConfig, SignalMambaConfig
from inn.models.names import HoldsGraph
from inn.models.signal import SignalModel
from inn.nn.graph import Graph
from inn.nn.state import State
from inn.ops.norm.reference import EPSILON


class SignalGraph(HoldsGraph, SignalModel):
    """Linear in, a graph of neurons, linear out: `inn.models.inn.INN` on signals, without recall.

    With `input: split` every neuron has its own linear map of the signal.

    >>> import torch
    >>> model = SignalGraph(SignalConfig(features=3, outputs=2, neurons=4, width=8, rounds=2))
    >>> y, state = model(torch.randn(2, 10, 3))
    >>> y.shape
    torch.Size([2, 10, 2])
    """

    no_split = ["Round"]
    config: SignalConfig

    def __init__(self, config: SignalConfig):
        c = config
        super().__init__(c, c.input_width, c.readout_width)
        self.backbone = Graph(c)
        self.norm = nn.LayerNorm(c.readout_width) if c.norm == "layer" else nn.RMSNorm(c.readout_width, EPSILON)

    def body(self, x: Tensor, state: State | None, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        y, after = self.backbone(self.dropout(x), state, reset=reset, mask=mask, checked=True)
        return self.norm(y), after

    def body_state(self, batch: int) -> State:
        return self.backbone.initial_state(batch)

    def body_flops(self) -> dict[str, float]:
        return self.backbone.flops()


class SignalMamba(SignalGraph):
    """`x + Mamba(LN x)` per layer, on signals: `SignalGraph` with one neuron.

    >>> SignalMamba(SignalMambaConfig(features=3, width=16, layers=2)).graph.config.neurons
    1
    """

    config: SignalMambaConfig  # type: ignore[assignment]

    def __init__(self, config: SignalMambaConfig):
        super().__init__(one_neuron(config))
        self.config = config


def one_neuron(c: SignalMambaConfig) -> SignalConfig:
    """The graph that is this stack."""
    return SignalConfig(
        features=c.features, outputs=c.outputs, head=c.head, quantiles=c.quantiles, pool=c.pool, neurons=1,
        width=c.width, rounds=c.layers, router="none", input="copy", weights="shared", readout="mean",
        dropout=c.dropout, memory=c.memory,
    )  # fmt: skip
