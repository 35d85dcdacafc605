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
    """Forward and backward with all neurons present, against a quarter of them, drawn at each step, in turns.

    The value is that of dendrites, the default; that of attention stands beside it.
    """
    torch.manual_seed(0)
    graphs = {
        router: Graph(neurons=size.neurons, width=size.width, rounds=1, router=router).train()
        for router in ("dendrites", "attention")
    }
    x = torch.randn(size.batch, size.length, size.neurons * size.width)
    some = torch.rand(size.batch, size.length, size.neurons) < size.density

    def step(graph: Graph, present: torch.Tensor) -> Work:
        def work() -> None:
            graph(x, present=present)[0].square().mean().backward()
            graph.zero_grad()

        return work

    everyone = torch.ones_like(some)
    times = {
        router: in_turns({"dense": step(graph, everyone), "resting": step(graph, some)}, effort)
        for router, graph in graphs.items()
    }
    faster = {router: found["dense"].median / found["resting"].median for router, found in times.items()}
    return Measured(
        faster["dendrites"],
        "float32",
        f"{size}, density {some.float().mean():.2f}",
        {
            "seconds": spread(times["dendrites"]),
            "attention": {"faster": faster["attention"], "seconds": spread(times["attention"])},
            "longest": Packed(some).length,
        },
    )
