"""What lesions have in common: the graph of a model, its routers, the round that runs, a stand-in for a method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from inn.nn.graph import Graph
from inn.nn.routing.base import Router
from inn.system.errors import InputError


def graphs_of(model: nn.Module, what: str) -> list[Graph]:
    """All graphs of a model; `InputError` where it has none, which names what was to be done to their neurons."""
    graphs = [m for m in model.modules() if isinstance(m, Graph)]
    if not graphs:
        raise InputError(f"a {type(model).__name__} has no neurons to {what}; give an INN or a Graph")
    return graphs


def graph_of(model: nn.Module, what: str) -> Graph:
    """The only graph of a model; `InputError` where it has none or several."""
    graphs = graphs_of(model, what)
    if len(graphs) > 1:
        raise InputError(f"this {type(model).__name__} has {len(graphs)} graphs; give the one to {what}")
    return graphs[0]


def check_neurons(graph: Graph, neurons: Iterable[int], what: str) -> None:
    """Raise `InputError` for a neuron that the graph does not have."""
    for n in neurons:
        if not 0 <= n < graph.config.neurons:
            raise InputError(f"there is no neuron {n} to {what} among {graph.config.neurons}; the first is 0")


def check_round(graph: Graph, r: int) -> None:
    """Raise `InputError` for a round that the graph does not have."""
    if not 0 <= r < graph.config.rounds:
        raise InputError(f"there is no round {r} among {graph.config.rounds}; the first is 0")


def routers_of(graph: Graph) -> list[Router]:
    """The routers of a graph, in the order of its rounds; one where all rounds are one module."""
    return [m for m in graph.rounds.modules() if isinstance(m, Router)]


def current_round(graph: Graph, hooks: ExitStack) -> Callable[[], int]:
    """What tells which round is running, also where all rounds are one module; its hooks end with `hooks`."""
    begun = [0]

    def begin(module: nn.Module, args: tuple) -> None:
        begun[0] += 1

    for module in graph.rounds:
        hooks.callback(module.register_forward_pre_hook(begin).remove)
    return lambda: (begun[0] - 1) % graph.config.rounds


@contextmanager
def in_place(module: nn.Module, name: str, function: Callable) -> Iterator[None]:
    """Let `function` stand in the place of a method while the `with` block runs; blocks can be nested."""
    outer = vars(module).get(name)
    setattr(module, name, function)
    try:
        yield
    finally:
        delattr(module, name)
        if outer is not None:
            setattr(module, name, outer)
