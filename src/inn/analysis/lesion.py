"""Lesions: what a model can do without some of its neurons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from inn.errors import InputError
from inn.graph import Graph
from inn.routing import Edges, Router


@contextmanager
def silenced(model: nn.Module, neurons: Sequence[int]) -> Iterator[None]:
    """Let these neurons say nothing to anyone while the `with` block runs: they still live, hear and remember.

    Their edges to all other neurons are closed in every round, and the readout gets zeros from them. Weights and state
    stay as they are.

    Raises `InputError` for a model without a graph, and for neurons that it does not have.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=4, width=8, rounds=1, recall=[])
    >>> with silenced(model, [2]):
    ...     _ = model(torch.zeros(1, 5).long())
    """
    graphs = [m for m in model.modules() if isinstance(m, Graph)]
    if not graphs:
        raise InputError(f"a {type(model).__name__} has no neurons to silence; give an INN or a Graph")
    with ExitStack() as hooks:
        for graph in graphs:
            count = graph.config.neurons
            for n in neurons:
                if not 0 <= n < count:
                    raise InputError(f"there is no neuron {n} to silence among {count}; the first is 0")
            silent = [(to, n) for n in neurons for to in range(count) if to != n]

            def close(module: nn.Module, args: tuple, options: dict[str, Any], silent=silent, count=count):
                edges = options.get("edges") or Edges.complete(count).to(args[0].device)
                return args, {**options, "edges": edges.close(silent)}

            def mute(module: nn.Module, args: tuple[Tensor]):
                spoken = torch.ones(args[0].shape[2], 1, dtype=args[0].dtype, device=args[0].device)
                spoken[list(neurons)] = 0.0
                return (args[0] * spoken,)

            for router in (m for m in graph.modules() if isinstance(m, Router)):
                hooks.callback(router.register_forward_pre_hook(close, with_kwargs=True).remove)
            hooks.callback(graph.readout.register_forward_pre_hook(mute).remove)
        yield
