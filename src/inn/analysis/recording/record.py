"""Recording what runs: routing, activity, gates, states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from inn.config.typed import typed
from inn.nn.graph import Graph
from inn.nn.tape import Tape
from inn.system.errors import InputError

AnyTape = TypeVar("AnyTape", bound=Tape)


@contextmanager
@typed
def record(model: nn.Module, *channels: str) -> Iterator[Tape]:
    """Record channels (see `inn.nn.tape.CHANNELS`) of every graph inside `model` while the `with` block runs it.

    Raises `InputError` for an unknown channel and for a model without a graph of neurons.

    Example:
        >>> import inn, torch
        >>> model = inn.INN(vocab=27, neurons=4, width=16, rounds=2)
        >>> with record(model, "routing") as tape:
        ...     _ = model(torch.randint(27, (2, 50)))
        >>> tape.connectivity().weights.shape
        torch.Size([2, 4, 4])
    """
    with writing_on(model, Tape(channels)) as tape:
        yield tape


@contextmanager
def writing_on(model: nn.Module, tape: AnyTape) -> Iterator[AnyTape]:
    """Have every graph inside `model` write on `tape` while the `with` block runs; raises `InputError` without one."""
    graphs = [m for m in model.modules() if isinstance(m, Graph)]
    if not graphs:
        raise InputError(f"a {type(model).__name__} has no graph of neurons to record; give an INN or a Graph")
    before = [g.tape for g in graphs]
    for g in graphs:
        g.tape = tape
    try:
        yield tape
    finally:
        for g, old in zip(graphs, before, strict=True):
            g.tape = old
