"""One step of a model that tells what its neurons do, and in which neurons and edges can be silenced while it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from inn.analysis.recording.trace import trace
from inn.models.inn import INN
from inn.nn.graph import Graph
from inn.nn.recall.base import NOTHING, Voter
from inn.nn.routing.base import Router
from inn.nn.state import State
from inn.nn.topology.edges import Edges
from inn.system.errors import InputError


class Watched(nn.Module):
    """A step of `model` with `spoken` and `open` as inputs, and what is recorded beside the logits as results.

    With neuron n silent (`spoken[n]` false, and its edges to the others closed in `open`) this is what
    `inn.analysis.silenced` gives; with edges closed alone, what `inn.analysis.cut` gives. No value is fixed by a trace,
    so that `torch.export` of this module is a program in which a person can silence what she likes.

    Args:
        model: a graph of neurons; the module runs it, and changes nothing of it.

    Raises `InputError` for a model without a graph.

    >>> model = INN(vocab=27, neurons=2, width=8, rounds=1, recall="none").eval()
    >>> logits, state, told = Watched(model)(torch.tensor([3]), model.initial_state(1), *everything(model))
    >>> told["activity"].shape, told["routing"].shape
    (torch.Size([1, 2]), torch.Size([1, 1, 2, 2]))
    """

    def __init__(self, model: INN):
        super().__init__()
        if not isinstance(model, INN):
            raise InputError(f"a model to watch is an INN, not a {type(model).__name__}; give one")
        self.model = model
        self.channels = recorded(self.graph())

    def graph(self) -> Graph:
        """The graph of the model: not kept as a part, which would give its weights a second name."""
        return next(m for m in self.model.modules() if isinstance(m, Graph))

    def forward(
        self, tokens: Tensor, state: State, spoken: Tensor, open_edges: Tensor
    ) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Read one symbol of one stream.

        Args:
            tokens: `[1]`.
            state: as `initial_state(1)` and the steps before give it.
            spoken: `[N]` bool, whether a neuron is heard by the readout, and whether what it recalls votes.
            open_edges: `[N_to, N_from]` bool; edges that the graph has not stay closed.

        Returns logits `[1, V]`, the state, and by channel `activity [R, N]`, `routing [R, H, N_to, N_from]` and
        `gate [R, N]`, as far as the graph has them.
        """
        graph = self.graph()

        def close(module: nn.Module, args: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            edges = options.get("edges") or Edges.complete(graph.config.neurons).to(args[0].device)
            return args, {**options, "edges": replace(edges, open=edges.open & open_edges.gather(1, edges.sources))}

        def mute(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            return (args[0] * spoken[:, None].to(args[0].dtype),)

        def blank(module: nn.Module, args: tuple) -> tuple:
            found = {name: torch.where(spoken.view(-1, *[1] * (t.ndim - 3)), t, NOTHING) for name, t in args[0].items()}
            return found, *args[1:]

        handles = [graph.readout.register_forward_pre_hook(mute)]
        handles += [m.register_forward_pre_hook(blank) for m in self.model.modules() if isinstance(m, Voter)]
        for module in graph.rounds:
            if isinstance(module.router, Router):
                handles.append(module.router.register_forward_pre_hook(close, with_kwargs=True))
        try:
            with trace(self.model, *self.channels) as tape:
                logits, state = self.model.step(tokens, state)
        finally:
            for handle in handles:
                handle.remove()
        return logits, state, {name: tape.values(name)[:, 0].float() for name in self.channels}


def recorded(graph: Graph) -> tuple[str, ...]:
    """The channels of a tape that this graph writes on, as a page shows them."""
    first = graph.round(0)
    gated = first.gate is not None or graph.gate is not None
    return ("activity", *["routing"] * (first.router is not None), *["gate"] * gated)


def everything(model: INN) -> tuple[Tensor, Tensor]:
    """`spoken` and `open_edges` of `Watched` with nothing silenced."""
    neurons = model.config.neurons
    return torch.ones(neurons, dtype=torch.bool), torch.ones(neurons, neurons, dtype=torch.bool)
