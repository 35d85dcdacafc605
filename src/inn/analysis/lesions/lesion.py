"""Lesions: what a model can do without some of its neurons, edges, rounds, or what they recall.

All are context managers that change what passes between the parts while their block runs; weights and state stay as
they are, and several can be nested. They say what a part *causes*; what it does in place of what it says is up to the
lesion: nothing (`silenced`), or its average (`mean_replaced`), which does not take the rest out of its usual range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from inn.analysis.lesions.graphs import (
    check_neurons,
    check_round,
    current_round,
    graph_of,
    graphs_of,
    in_place,
    routers_of,
)
from inn.nn.recall.base import NOTHING, Found, Recall, Voter
from inn.nn.routing.base import Parts
from inn.nn.topology.edges import Edges
from inn.system.errors import InputError


@contextmanager
def silenced(model: nn.Module, neurons: Sequence[int]) -> Iterator[None]:
    """Let these neurons say nothing to anyone while the `with` block runs: they still live, hear and remember.

    Their edges to all other neurons are closed in every round, the readout gets zeros from them, and what they recall
    votes nothing. Weights and state stay as they are.

    Raises `InputError` for a model without a graph, and for neurons that it does not have.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=4, width=8, rounds=1, recall="none")
    >>> with silenced(model, [2]):
    ...     _ = model(torch.zeros(1, 5).long())
    """
    graphs = graphs_of(model, "silence")
    for graph in graphs:
        check_neurons(graph, neurons, "silence")

    def mute(module: nn.Module, args: tuple[Tensor]):
        spoken = torch.ones(args[0].shape[2], 1, dtype=args[0].dtype, device=args[0].device)
        spoken[list(neurons)] = 0.0
        return (args[0] * spoken,)

    with ExitStack() as hooks:
        for graph in graphs:
            others = [(to, n) for n in neurons for to in range(graph.config.neurons) if to != n]
            hooks.enter_context(cut(graph, others))
            hooks.callback(graph.readout.register_forward_pre_hook(mute).remove)
        unvoted(model, neurons, hooks)
        yield


def unvoted(model: nn.Module, neurons: Sequence[int], hooks: ExitStack) -> None:
    """Let what these neurons recall vote as if they had found nothing, until the hooks are taken away."""

    def blank(module: nn.Module, args: tuple[Found, Tensor]):
        return _unfound(args[0], neurons), *args[1:]

    for module in model.modules():
        if isinstance(module, Voter):
            hooks.callback(module.register_forward_pre_hook(blank).remove)


@contextmanager
def cut(model: nn.Module, edges: Iterable[tuple[int, int]], rounds: Sequence[int] | None = None) -> Iterator[None]:
    """Close edges (to, from) in these rounds, in all of them by default, while the `with` block runs.

    Attention and static weights are shared out among the edges that stay open, so that rows keep their sum.

    Raises `InputError` for a model without a graph, and for neurons and rounds that it does not have.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=4, width=8, rounds=2, recall="none")
    >>> with cut(model, [(0, 3)], rounds=[1]):
    ...     _ = model(torch.zeros(1, 5).long())
    """
    graphs, closed = graphs_of(model, "cut edges of"), list(edges)
    for graph in graphs:
        check_neurons(graph, [n for edge in closed for n in edge], "cut an edge of")
        for r in rounds or ():
            check_round(graph, r)
    with ExitStack() as hooks:
        for graph in graphs:
            now = current_round(graph, hooks)

            def close(module: nn.Module, args: tuple, options: dict[str, Any], now=now, count=graph.config.neurons):
                if rounds is not None and now() not in rounds:
                    return None
                edges = options.get("edges") or Edges.complete(count).to(args[0].device)
                return args, {**options, "edges": edges.close(closed)}

            for router in routers_of(graph):
                hooks.callback(router.register_forward_pre_hook(close, with_kwargs=True).remove)
        yield


@contextmanager
def skipped(model: nn.Module, r: int, what: str = "round") -> Iterator[None]:
    """Leave out round `r` while the `with` block runs: the whole `round`, or its `communication` alone.

    Without the round the neurons leave it as they came. Without its communication no neuron hears another in it: where
    messages come after the memory there are none; where they lead into it (dendrites), each neuron's own input stays.

    Raises `InputError` for a model without a graph, for a round it does not have, for another `what`, and for the
    communication of neurons that have none.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=4, width=8, rounds=2, recall="none")
    >>> with skipped(model, 0):
    ...     _ = model(torch.zeros(1, 5).long())
    """
    graph = graph_of(model, "skip a round of")
    check_round(graph, r)
    if what not in ("round", "communication"):
        raise InputError(f"'{what}' of a round cannot be skipped; give 'round' or 'communication'")
    if what == "communication" and not routers_of(graph):
        raise InputError("neurons with router 'none' do not communicate; skip the 'round'")
    if what == "communication" and routers_of(graph)[0].into_memory:
        count = graph.config.neurons
        with cut(model, [(to, n) for to in range(count) for n in range(count) if to != n], [r]):
            yield
        return
    with ExitStack() as hooks:
        now = current_round(graph, hooks)

        def passed(module: nn.Module, args: tuple, result: tuple):
            return (args[0], *result[1:]) if now() == r else None

        def unheard(module: nn.Module, args: tuple, result: Any):
            if now() != r:
                return None
            return torch.zeros_like(result) if torch.is_tensor(result) else (torch.zeros_like(result[0]), *result[1:])

        for module in graph.rounds:
            # The last thing a message goes through: its norm in the form `message-norm`, else the router.
            last = module.router_norm if graph.config.update == "message-norm" else module.router
            target, hook = (module, passed) if what == "round" else (last, unheard)
            hooks.callback(target.register_forward_hook(hook).remove)  # type: ignore[union-attr]
        yield


@contextmanager
def forgetful(model: nn.Module, neurons: Sequence[int]) -> Iterator[None]:
    """Let these neurons recall nothing while the `with` block runs, as if all they read were new to them.

    What they find is what they find in empty tables; the tables go on filling.

    Raises `InputError` for a model that recalls nothing, and for neurons that it does not have.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=4, width=8, rounds=1, recall=[2, 3])
    >>> with forgetful(model, [0]):
    ...     _ = model(torch.zeros(1, 5).long())
    """
    recalls = [m for m in model.modules() if isinstance(m, Recall)]
    if not recalls:
        raise InputError(f"this {type(model).__name__} recalls nothing that could be forgotten; its recall is none")
    check_neurons(graph_of(model, "make forgetful"), neurons, "make forgetful")
    (recall,) = recalls
    before = recall.find_

    def find_(*args: Any, **options: Any) -> Found:
        return _unfound(before(*args, **options), neurons)

    with in_place(recall, "find_", find_):  # both `forward` and the steps of generation come by there
        yield


def _unfound(found: Found, neurons: Sequence[int]) -> Found:
    """What is found, but for these neurons, which find nothing."""
    found = {name: t.clone() for name, t in found.items()}
    for t in found.values():
        t[:, :, list(neurons)] = NOTHING
    return found


def is_forgetful(model: nn.Module) -> bool:
    """Whether a `forgetful` block is running: what goes into the graph is then not what it was."""
    return any("find_" in vars(m) for m in model.modules() if isinstance(m, Recall))


@dataclass
class Averages:
    """What neurons say on average: see `averaging`.

    Attributes:
        heard: `[R, N, D]` what goes into the router, by round; empty without one.
        gates: `[R, N]` what gates let through, by round; empty without them.
        spoken: `[N, D]` what goes into the readout.
    """

    heard: Tensor
    gates: Tensor
    spoken: Tensor


@contextmanager
def averaging(model: nn.Module) -> Iterator[Callable[[], Averages]]:
    """Average over every symbol that the `with` block runs what neurons say; call what it gives for the `Averages`.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=4, width=8, rounds=2, recall="none")
    >>> with averaging(model) as averages:
    ...     _ = model(torch.zeros(1, 5).long())
    >>> averages().heard.shape, averages().spoken.shape
    (torch.Size([2, 4, 8]), torch.Size([4, 8]))
    """
    graph = graph_of(model, "average")
    sums: dict[tuple[str, int], Tensor] = {}
    counts: dict[tuple[str, int], int] = {}

    def add(name: str, r: int, x: Tensor) -> None:
        sums[name, r] = sums.get((name, r), 0) + x.detach().double().sum((0, 1))
        counts[name, r] = counts.get((name, r), 0) + x.shape[0] * x.shape[1]

    with ExitStack() as hooks:
        now = current_round(graph, hooks)

        def hear(module: nn.Module, args: tuple, options: dict[str, Any]) -> None:
            add("heard", now(), args[0])
            if options.get("gate") is not None:
                add("gates", now(), options["gate"])

        for router in routers_of(graph):
            hooks.callback(router.register_forward_pre_hook(hear, with_kwargs=True).remove)
        hooks.callback(graph.readout.register_forward_pre_hook(lambda _, args: add("spoken", 0, args[0])).remove)

        def averages() -> Averages:
            if not sums:
                raise InputError("nothing was averaged; run the model inside the `with` block")
            like = next(graph.parameters())

            def means(name: str) -> Tensor:
                found = [(sums[key] / counts[key]).to(like.dtype) for key in sorted(sums) if key[0] == name]
                return torch.stack(found) if found else like.new_zeros(0)

            return Averages(means("heard"), means("gates"), means("spoken")[0])

        yield averages


@contextmanager
def mean_replaced(model: nn.Module, neurons: Sequence[int], averages: Averages) -> Iterator[None]:
    """Let all others and the readout hear from these neurons what they say on average while the `with` block runs.

    Each still hears itself as it is. What is lost is all that they tell about the text; unlike after `silenced`, what
    the others get stays in its usual range.

    Raises `InputError` for a model without a graph, and for neurons that it does not have.

    >>> from inn import INN
    >>> model, tokens = INN(vocab=27, neurons=4, width=8, rounds=1, recall="none"), torch.zeros(1, 5).long()
    >>> with averaging(model) as averages:
    ...     _ = model(tokens)
    >>> with mean_replaced(model, [2], averages()):
    ...     _ = model(tokens)
    """
    means = {"heard": averages.heard, "gates": averages.gates}
    with replaced(model, neurons, lambda what, r, _: means[what][r] if what in means else averages.spoken):
        yield


@contextmanager
def replaced(model: nn.Module, neurons: Sequence[int], by: Callable[[str, int, Tensor], Tensor]) -> Iterator[None]:
    """Let all others and the readout hear from these neurons what `by` says while the `with` block runs.

    Each still hears itself as it is.

    Args:
        by: called with what is replaced, its round, and what there is, in the order of the steps: `heard`
            `[B, T, N, D]` goes into a router, `gates` `[B, T, N]` with it, `spoken` `[B, T, N, D]` into the readout.
            What it gives has that shape, or one that expands to it.

    Raises `InputError` for a model without a graph, and for neurons that it does not have.

    >>> from inn import INN
    >>> model, tokens = INN(vocab=27, neurons=4, width=8, rounds=1, recall="none"), torch.zeros(1, 5).long()
    >>> with replaced(model, [2], lambda what, r, x: 2 * x):  # a neuron that speaks up
    ...     _ = model(tokens)
    """
    graph, chosen = graph_of(model, "replace"), list(neurons)
    check_neurons(graph, chosen, "replace")
    with ExitStack() as hooks:
        now = current_round(graph, hooks)

        def put(x: Tensor, values: Tensor, which: Sequence[int]) -> Tensor:
            x = x.clone()
            x[:, :, list(which)] = values.to(x.dtype).expand_as(x)[:, :, list(which)]
            return x

        def route(usual: Callable, x: Tensor, state: Parts | None = None, **options: Any):
            r, gate, tape = now(), options.pop("gate", None), options.pop("tape", None)
            heard, gates = by("heard", r, x), None if gate is None else by("gates", r, gate)

            def run(which: Sequence[int], tape: Any = None):
                emit = gate if gate is None or gates is None else put(gate, gates, which)
                return usual(put(x, heard, which), state, gate=emit, tape=tape, **options)

            message, routed = run(chosen, tape)
            message = message.clone()
            for n in chosen:  # what neuron n itself hears: all others as replaced, itself as it is
                message[:, :, n] = run([m for m in chosen if m != n])[0][:, :, n]
            return message, routed

        for router in routers_of(graph):
            hooks.enter_context(in_place(router, "forward", partial(route, router.forward)))
        hooks.callback(
            graph.readout.register_forward_pre_hook(
                lambda _, args: (put(args[0], by("spoken", 0, args[0]), chosen),)
            ).remove
        )
        yield
