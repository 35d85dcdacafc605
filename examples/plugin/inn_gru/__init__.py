"""Kinds of one's own for INN, as a package: once it is installed, every configuration and command knows them.

inn train text8-small --model.memory slow-gru --model.memory.update_bias 2
inn train text8-small --model.router left
inn train text8-small --model.topology star
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import inn


class GRU(inn.Memory):
    """A gated recurrent unit as the memory of a neuron (Cho et al. 2014); its state is `h` `[B, N, D]`."""

    @dataclass
    class Options(inn.Options):
        """A gated recurrent unit as the memory of a neuron (Cho et al. 2014)."""

        update_bias: float = 1.0
        """Bias of the update gate at the start: the higher, the longer the memory."""

    def __init__(self, config: inn.GraphConfig):
        super().__init__(config)
        self.neurons, self.width = config.neurons, config.width
        P, D = config.populations, config.width
        # A router that leads into the memory brings what the gates take in; else a map of the memory's own does.
        self.x = None if config.into_memory else inn.NeuronLinear(P, D, 3 * D)
        self.h = inn.NeuronLinear(P, D, 3 * D, bias=True)
        with torch.no_grad():
            self.h.bias[:, D : 2 * D] = config.memory.update_bias

    @classmethod
    def inputs(cls, config: inn.GraphConfig) -> int:
        return 3 * config.width

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        weight = self.h.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return {"h": torch.zeros(batch, self.neurons, self.width, dtype=dtype, device=weight.device)}

    def forward(
        self, x: Tensor, state: dict[str, Tensor], *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        D = self.width
        xr, xz, xn = x.split(D, -1) if self.x is None else self.x(x, D, D, D)
        h, out = state["h"], []
        for t in range(x.shape[1]):
            if reset is not None:
                h = h.masked_fill(reset[:, t, None, None], 0.0)
            hr, hz, hn = (part[:, 0] for part in self.h(h[:, None].to(x.dtype), D, D, D))
            r, z = torch.sigmoid(xr[:, t] + hr), torch.sigmoid(xz[:, t] + hz)
            new = ((1 - z) * torch.tanh(xn[:, t] + r * hn)).to(h.dtype) + z.to(h.dtype) * h
            h = new if mask is None else torch.where(mask[:, t, None, None], new, h)
            out.append(h)
        return torch.stack(out, 1).to(x.dtype), {"h": h}

    def flops(self) -> dict[str, float]:
        maps = [self.h] + ([] if self.x is None else [self.x])
        return {"memory.matrices": sum(m.flops(self.neurons) for m in maps)}


class Left(inn.WeightedRouter):
    """Neuron i hears neuron i - 1, if it has an edge from there."""

    mass = None  # a closed edge leaves a row without weight

    def __init__(self, config: inn.GraphConfig):
        super().__init__(config)
        left = torch.eye(config.neurons).roll(1, dims=0)
        self.register_buffer("left", left, persistent=False)

    def forward(
        self, x: Tensor, state: Any = None, *, edges=None, gate=None, reset=None, mask=None, tape=None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.left if edges is None else self.left * edges.dense()
        values = self.values(x, gate)
        if tape is not None:
            tape.add_routing(weights.expand(*x.shape[:2], 1, -1, -1))
        return self.out(torch.einsum("ij,btjd->btid", weights.to(values.dtype), values)), {}


class Matrices(inn.Router):
    """Neuron i takes in R_ij x_j of every neuron j that it hears: a plain form of `dendrites`."""

    mass = None
    into_memory = True

    def __init__(self, config: inn.GraphConfig):
        super().__init__(config)
        n = config.neurons
        self.matrices = torch.nn.Parameter(torch.randn(n, config.memory_inputs, n, config.width) * 0.1)

    def forward(
        self, x: Tensor, state: Any = None, *, edges=None, gate=None, reset=None, mask=None, tape=None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        sent = x if gate is None else x * gate[..., None].to(x.dtype)
        matrices = self.matrices if edges is None else self.matrices * edges.dense()[:, None, :, None]
        if tape is not None:
            tape.add_sizes(sent, matrices)
        return torch.einsum("iojd,btjd->btio", matrices.to(x.dtype), sent), {}

    def flops(self) -> dict[str, float]:
        return {"routing.messages": 2.0 * self.matrices.numel()}


class Star(inn.Topology):
    """Everyone hears itself and the hub; the hub hears everyone."""

    @dataclass
    class Options(inn.Options):
        """Everyone hears itself and the hub; the hub hears everyone."""

        hub: int = 0
        """The neuron in the middle."""

        def check(self, graph: Any) -> None:
            if not 0 <= self.hub < graph.neurons:
                raise inn.InputError(f"hub {self.hub} is none of the {graph.neurons} neurons, numbered from 0")

    def edges(self, neurons: int) -> inn.Edges:
        hub = self.options.hub
        return inn.Edges.listed([range(neurons) if i == hub else [i, hub] for i in range(neurons)])
