"""Graphs whose neurons hear a few others: the op on listed edges, groups, and how time grows with N at a fixed K."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.ops import neighbour_attention, neighbour_messages, neuron_attention, neuron_linear
from inn_benchmarks.measure import BRIEF, Effort, in_turns, slope, spread, train_step
from inn_benchmarks.memory import added_peak
from inn_benchmarks.rows import Measured, Skipped
from inn_benchmarks.run import call
from inn_benchmarks.steps import VOCAB


@dataclass(frozen=True)
class SparseSize:
    """One stream of `length` steps; heads of a quarter of the width."""

    neurons: tuple[int, ...] = (1024,)
    degree: int = 16
    width: int = 16
    length: int = 16
    groups: int = 64
    across: float = 0.02


def neighbours(size: SparseSize = SparseSize(), effort: Effort = BRIEF) -> Measured:
    """Forward and backward of attention over K listed sources, against dense attention under the same mask."""
    torch.manual_seed(0)
    N, K = size.neurons[0], size.degree
    q, k, v = torch.randn(3, 1, size.length, N, 4, size.width // 4).unbind(0)
    inputs = [t.requires_grad_() for t in (q, k, v)]
    sources = torch.stack([torch.randperm(N)[:K] for _ in range(N)])
    is_open = torch.ones_like(sources, dtype=torch.bool)
    dense = torch.zeros(N, N, dtype=torch.bool).scatter(1, sources, is_open)

    def sparse_work() -> None:
        torch.autograd.grad(neighbour_attention(*inputs, sources, is_open)[0].sum(), inputs)

    def dense_work() -> None:
        torch.autograd.grad(neuron_attention(*inputs, dense)[0].sum(), inputs)

    times = in_turns({"dense": dense_work, "sparse": sparse_work}, effort)
    ratio = times["dense"].median / times["sparse"].median
    words = f"N {N}, K {K}, D {size.width}, 4 heads, B 1, T {size.length}"
    backend = neighbour_attention.choose(*inputs, sources, is_open)[0].name
    return Measured(ratio, "float32", words, {"seconds": spread(times), "backend": backend})


def messages(size: SparseSize = SparseSize(length=64), effort: Effort = BRIEF) -> Measured:
    """Forward and backward of a matrix for each listed edge, against what comes over all edges and a product of it."""
    torch.manual_seed(0)
    N, K, D = size.neurons[0], size.degree, size.width
    x, weight = torch.randn(1, size.length, N, D), torch.randn(N, 4 * D, K, D) / (K * D) ** 0.5
    inputs = [t.requires_grad_() for t in (x, weight)]
    sources = torch.stack([torch.randperm(N)[:K] for _ in range(N)])
    is_open = torch.ones_like(sources, dtype=torch.bool)

    def listed() -> None:
        torch.autograd.grad(neighbour_messages(*inputs, sources, is_open).sum(), inputs)

    def gathered() -> None:
        heard = inputs[0][:, :, sources].masked_fill(~is_open[..., None], 0.0).flatten(3)
        torch.autograd.grad(neuron_linear(heard, inputs[1].flatten(2))[0].sum(), inputs)

    times = in_turns({"gathered": gathered, "listed": listed}, effort)
    words = f"N {N}, K {K}, D {D} to {4 * D}, B 1, T {size.length}"
    backend = neighbour_messages.choose(*inputs, sources, is_open)[0].name
    details = {"seconds": spread(times), "backend": backend}
    return Measured(times["gathered"].median / times["listed"].median, "float32", words, details)


def groups(size: SparseSize = SparseSize(length=64), effort: Effort = BRIEF) -> Measured:
    """A training step of attention on the complete graph, against groups with a few edges across; both one round."""
    options = {"topology": "groups", "topology_options": {"groups": size.groups, "across": size.across}}
    fields = {"complete": {}, "groups": options}
    steps = {name: train_step(graph(size, more), 1, size.length, vocab=VOCAB) for name, more in fields.items()}
    times = in_turns(steps, effort)
    peaks = {name: _peak(size, more) for name, more in fields.items()}
    return Measured(
        times["complete"].median / times["groups"].median,
        "float32",
        f"N {size.neurons[0]}, D {size.width}, {size.groups} groups, across {size.across}, 1 round, T {size.length}",
        {"seconds": spread(times), "bytes": peaks, "memory": peaks["groups"] / max(1, peaks["complete"])},
    )


def growth(size: SparseSize = SparseSize((64, 256, 1024, 4096)), effort: Effort = BRIEF) -> Measured:
    """The slope of a training step's time over N, where each neuron hears K; that of its memory beside it."""
    ring = {"topology": "ring", "topology_options": {"neighbours": size.degree}, "rounds": 2}
    sizes = {n: SparseSize((n,), size.degree, size.width, size.length) for n in size.neurons}
    steps = {str(n): train_step(graph(s, ring), 1, size.length, vocab=VOCAB) for n, s in sizes.items()}
    times = in_turns(steps, effort)
    peaks = {n: _peak(s, ring) for n, s in sizes.items()}
    slopes = {"time": slope([(n, times[str(n)].median) for n in sizes]), "memory": slope(list(peaks.items()))}
    words = f"D {size.width}, each hears {size.degree} others and itself, 2 rounds, B 1, T {size.length}"
    return Measured(slopes["time"], "float32", words, {"slopes": slopes, "seconds": spread(times), "bytes": peaks})


def graph(size: SparseSize, fields: dict[str, Any]) -> torch.nn.Module:
    """A model with router `attention` of so many neurons."""
    torch.manual_seed(0)
    own = {
        "neurons": size.neurons[0],
        "width": size.width,
        "rounds": 1,
        "router": "attention",
        "recall": "none",
        **fields,
    }
    return build_model(model_config("inn", vocab=VOCAB, **own))


def _peak(size: SparseSize, fields: dict[str, Any]) -> int:
    sizes = {"neurons": size.neurons[0], "width": size.width, "length": size.length, "fields": fields}
    outcome = call("inn_benchmarks.sparse:peak", sizes, threads=torch.get_num_threads())
    if "skipped" in outcome:
        raise Skipped(outcome["skipped"])
    return outcome["bytes"]


def peak(neurons: int, width: int, length: int, fields: dict[str, Any]) -> dict[str, int]:
    """`added_peak` of a graph, to be called in a process of its own."""
    return {"bytes": added_peak(graph(SparseSize((neurons,), width=width), fields), 1, length)}


def neighbours_4096(size: SparseSize = SparseSize((4096,)), effort: Effort = BRIEF) -> Measured:
    """`neighbours` at N 4,096."""
    return neighbours(size, effort)
