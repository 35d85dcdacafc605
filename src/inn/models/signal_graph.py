"""The graph of neurons on signals, and the graph of one neuron, which is a stack of Mamba blocks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.signals import SignalConfig, SignalMambaConfig
from inn.models.names import HoldsGraph
from inn.models.organs import descriptors_of, known, told_by
from inn.models.signal import READ, SignalModel
from inn.models.views import readout_norm
from inn.nn.direct import going_round, passed_by, untouched
from inn.nn.graph import Graph
from inn.nn.masked import legible
from inn.nn.population import NeuronLinear
from inn.nn.state import State
from inn.nn.topology.edges import Edges
from inn.system.errors import InputError


@passed_by("forward", "read", "body", "enter", "so_far", "predict", "since", backbone=Graph)
class SignalGraph(HoldsGraph, SignalModel):
    """Linear in, a graph of neurons, linear out: `inn.models.inn.INN` on signals, without recall.

    With `input: split` every neuron has its own linear map of the signal; with `channels: split` of its own part of it,
    and while that is missing the neuron is skipped (`present` of `inn.Graph`).

    >>> model = SignalGraph(SignalConfig(features=3, outputs=2, neurons=4, width=8, rounds=2))
    >>> y, state = model(torch.randn(2, 10, 3))
    >>> y.shape
    torch.Size([2, 10, 2])
    """

    no_split = ["Round"]
    config: SignalConfig

    def __init__(self, config: SignalConfig):
        c = config
        super().__init__(c, c.input_width, c.normed_width, c.views)
        self.split, self.absent, self.elapsed = c.channels == "split", c.absent, c.elapsed
        self.backbone = Graph(c)
        if self.elapsed is not None and self.elapsed >= c.features:
            raise InputError(f"elapsed must be from 0 to {c.features - 1}, a channel of the signal, not {self.elapsed}")
        if self.elapsed is not None and not self.backbone.takes_dt:
            raise InputError(
                "elapsed does nothing, as no memory takes the time between steps; use memory 'liquid', or leave it out"
            )
        self.norm, self.descriptors = readout_norm(c), descriptors_of(c, together=True)

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        edges: Edges | None = None,
        every: bool = False,
    ) -> tuple[Tensor, State]:
        """See `SignalModel.forward`; `edges` says which edges the routers may use, None: all of the topology's.

        With `every` it tells something by every view of a readout that gives several (`each`), `[B, T, K, O]`.
        """
        body = partial(self.body, edges=edges)
        if self.split:
            body = partial(body, present=self.present(x))
        if self.elapsed is not None:
            body = partial(body, dt=self.since(x))
        hidden, last, after = self.read(x, state, reset, mask, body)
        return self.predict(hidden, last, every), after

    def body(
        self,
        x: Tensor,
        state: State | None,
        reset: Tensor | None,
        mask: Tensor | None,
        edges: Edges | None = None,
        present: Tensor | None = None,
        dt: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        options: dict[str, Any] = {"edges": edges, "reset": reset, "mask": mask, "checked": True}
        if dt is not None:
            options["dt"] = dt
        if present is not None:
            options["present"] = present
        y, after = self.backbone(self.dropout(x), state, **options)
        return told_by(self, y, state, after, reset, mask)

    def way_in(self, width: int) -> nn.Module:
        c = self.config
        if c.channels == "all":
            return super().way_in(width)
        return OwnChannels(c.features, [c.channels_of(n) for n in range(len(c.sensors))], c.width)

    def present(self, x: Tensor) -> Tensor:
        """The neurons `[B, T, N]` that have anything to read of a signal `[B, T, F]`; in training fewer by `absent`."""
        present = ~self.input.all_of(x.isnan())
        if self.training and self.absent:
            present = present & (torch.rand(len(x), 1, present.shape[2], device=x.device) >= self.absent)
        if (sensors := self.backbone.sensors) is None:
            return present
        all_there = present.new_ones(*present.shape[:2], self.config.neurons)
        return all_there.index_copy(2, sensors, present)  # neurons that read nothing are never skipped

    def since(self, x: Tensor) -> Tensor:
        """The time since the step before `[B, T]`, in units of its mean in training; 1 where it is missing."""
        mean, t = self.input_mean[self.elapsed], x[..., self.elapsed]
        return torch.where(t.isnan(), 1, t / torch.where(mean > 0, mean, 1))

    def check_values(self, given: Tensor) -> None:
        super().check_values(given)
        if self.elapsed is not None and legible(given) and bool((given[..., self.elapsed] < 0).any()):
            raise InputError(
                f"feature {self.elapsed}, the time since the step before (elapsed), is below 0; sort the steps by time"
            )

    def embed(self, x: Tensor) -> Tensor:
        """A signal `[B, T, F]` as the neurons' inputs `[B, T, N, D]`."""
        return self.backbone.distribute(self.dropout(self.enter(x)))

    def step_(self, tokens: Tensor, state: State | None = None, *, remember: bool = True) -> tuple[Tensor, State]:
        """Tell after one step of every stream, without a gradient: `[B, F]` -> `[B, O]`.

        The state is changed in place and returned; where something hangs on a module, a new one is made as ever, by
        `forward`, as in `inn.models.inn.INN.step_`.
        """
        state = self.initial_state(tokens.shape[0]) if state is None else state
        graph = self.backbone
        if graph.tape is not None or torch.compiler.is_compiling() or not untouched(self) or self.descriptors:
            with torch.no_grad():
                return self.step(tokens, state)
        with torch.inference_mode(), going_round(self):
            x, own = tokens[:, None], state.round(READ)
            dt = None if self.elapsed is None else self.since(x)
            hidden = self.norm(graph.out_(self.embed(x), state, self.present(x) if self.split else None, dt))
            hidden, last, kept = self.so_far(x, hidden, own, None, None)
            for name, t in kept.items():
                own[name].copy_(t)
            y = self.predict(hidden, last)[:, 0]
        return y.clone(), state  # the copy is an ordinary tensor

    def body_state(self, batch: int) -> State:
        return known(self, self.backbone.initial_state(batch), batch)

    def body_flops(self) -> dict[str, float]:
        return self.backbone.flops() | ({} if self.descriptors is None else self.descriptors.flops())

    def flops(self) -> dict[str, float]:
        parts = super().flops()
        if self.split:
            parts["input"] = self.input.flops()
        return parts


class OwnChannels(nn.Module):
    """A linear map per neuron of its own channels, and of which are missing: `[B, T, F]` twice -> `[B, T, N x D]`.

    Args:
        features: F.
        parts: the channels of each neuron.
        width: D.

    >>> OwnChannels(3, [[0, 1], [2]], 4)(torch.randn(2, 5, 3), torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 8])
    """

    places: Tensor

    def __init__(self, features: int, parts: Sequence[Sequence[int]], width: int):
        super().__init__()
        widest = max(map(len, parts))
        self.parts = [[*part, *[features] * (widest - len(part))] for part in parts]  # shorter ones: a channel beyond
        self.values = NeuronLinear(len(parts), widest, width, bias=True)
        self.gaps = NeuronLinear(len(parts), widest, width, zero=True)
        self.register_buffer("places", torch.tensor(self.parts))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.places.copy_(torch.tensor(self.parts))

    @property
    def weight(self) -> Tensor:
        return self.values.weight

    def forward(self, input: Tensor, missing: Tensor) -> Tensor:
        x, gone = (F.pad(t.to(input.dtype), (0, 1))[..., self.places] for t in (input, missing))
        return (self.values(x) + self.gaps(gone)).flatten(2)

    def all_of(self, flags: Tensor) -> Tensor:
        """Whether flags `[B, T, F]` are set for all channels of a neuron, `[B, T, N]`."""
        return F.pad(flags, (0, 1), value=True)[..., self.places].all(-1)

    def flops(self) -> float:
        return 2 * self.values.flops(len(self.parts))


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
