"""Neurons that rest: a training step at a mean density, against the same graph with all neurons at work."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inn.nn.graph import Graph
from inn.nn.packing import Packed
from inn_benchmarks.measure import NORMAL, Effort, Work, in_turns, spread
from inn_benchmarks.rows import Measured


@dataclass(frozen=True)
class RestingSize:
    """A graph of dendrites and Mambas, what it reads, and the share of (stream, step, neuron) at work."""

    neurons: int = 64
    width: int = 32
    batch: int = 2
    length: int = 256
    density: float = 0.25

    def __str__(self) -> str:
        return f"{self.neurons} neurons of width {self.width}, 1 round, B {self.batch}, T {self.length}"


def resting(size: RestingSize = RestingSize(), effort: Effort = NORMAL) -> Measured:
    """Forward and backward with all neurons present, against a quarter of them, drawn at each step, in turns."""
    torch.manual_seed(0)
    graph = Graph(neurons=size.neurons, width=size.width, rounds=1).train()
    x = torch.randn(size.batch, size.length, size.neurons * size.width)
    some = torch.rand(size.batch, size.length, size.neurons) < size.density

    def step(present: torch.Tensor) -> Work:
        def work() -> None:
            graph(x, present=present)[0].square().mean().backward()
            graph.zero_grad()

        return work

    times = in_turns({"dense": step(torch.ones_like(some)), "resting": step(some)}, effort)
    return Measured(
        times["dense"].median / times["resting"].median,
        "float32",
        f"{size}, density {some.float().mean():.2f}",
        {"seconds": spread(times), "longest": Packed(some).length},
    )
