"""A model as if it had some of its neurons and its first rounds only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from inn.analysis.lesions.graphs import check_neurons, check_round, current_round, graph_of, in_place
from inn.analysis.lesions.lesion import unvoted


@contextmanager
def kept(model: nn.Module, neurons: Sequence[int] | None = None, rounds: int | None = None) -> Iterator[None]:
    """Let the model have these neurons and its first `rounds` rounds only, while the `with` block runs.

    What comes out is what `silenced` and `skipped` give, of the others; but these are absent, and not computed: their
    states pass through unchanged, and no gradient reaches their weights. The readout has zeros in their places.

    Args:
        neurons: their numbers; None: all.
        rounds: how many, 1 at least; None: all.

    Raises `InputError` for a model without a graph, and for neurons and rounds that it does not have.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=4, width=8, rounds=2, recall="none")
    >>> with kept(model, [0, 1], rounds=1):
    ...     _ = model(torch.zeros(1, 5).long())
    """
    graph = graph_of(model, "keep some of")
    count = graph.config.neurons
    check_neurons(graph, neurons or (), "keep")
    if rounds is not None:
        check_round(graph, rounds - 1)

    there = torch.zeros(count, dtype=torch.bool)
    there[list(neurons or ())] = True

    def leave(module: nn.Module, args: tuple, options: dict[str, Any]):
        present = there.to(args[0].device).expand(*args[0].shape[:2], -1)
        before = options.get("present")
        return args, {**options, "present": present if before is None else before & present}

    def count_all(module: nn.Module, args: tuple, options: dict[str, Any]):
        present = options.get("present")
        return args, options if present is None else {"present": present | ~there.to(present.device)}

    with ExitStack() as hooks:
        if neurons is not None and len(set(neurons)) < count:
            hooks.callback(graph.register_forward_pre_hook(leave, with_kwargs=True).remove)
            hooks.callback(graph.readout.register_forward_pre_hook(count_all, with_kwargs=True).remove)
            unvoted(model, (~there).nonzero().flatten().tolist(), hooks)
        if rounds is not None and rounds < graph.config.rounds:
            now = current_round(graph, hooks)

            def skip(usual: Callable, x: Tensor, state: Any, **options: Any):
                return usual(x, state, **options) if now() < rounds else (x, state, {})

            for module in graph.rounds:
                usual = module.forward
                hooks.enter_context(in_place(module, "forward", lambda *a, u=usual, **o: skip(u, *a, **o)))
        yield
