"""Neurons that step: the fused loop over time against Python's and PyTorch's LSTM, and in a graph with feedback."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import inn
from inn.config.run import TrainConfig
from inn.nn.memory.lstm import LSTM
from inn.ops import recurrence, use_backend
from inn.training.optim import build_optimizer
from inn_benchmarks.measure import BRIEF, NORMAL, Effort, Work, in_turns, spread
from inn_benchmarks.rows import Measured


@dataclass(frozen=True)
class LoopSize:
    """A population over time, `[batch, length, neurons, width]`."""

    batch: int = 16
    length: int = 256
    neurons: int = 8
    width: int = 32
    rounds: int = 1

    def __str__(self) -> str:
        return f"B {self.batch}, T {self.length}, N {self.neurons} x D {self.width}"


def loop(size: LoopSize = LoopSize(), effort: Effort = BRIEF) -> Measured:
    """Neurons with a GRU cell each: the loop in Python, autograd through it, against the op; and one GRU of all."""
    torch.manual_seed(0)
    works: dict[str, Work] = {}
    for name, heard in (("neurons", 1), ("population", size.neurons)):
        given = _gru(size, heard)
        works[name] = _both_ways(given)
        works[f"{name} reference"] = _both_ways(given, "reference")
    times = in_turns(works, effort)
    chosen, refused = recurrence.choose("gru", *_gru(size, 1)[:2], None, None, *_gru(size, 1)[2:])
    ratios = {name: times[f"{name} reference"].median / times[name].median for name in ("neurons", "population")}
    details = {"ratios": ratios, "seconds": spread(times), "backend": chosen.name, "refused": refused}
    return Measured(ratios["neurons"], "float32", f"GRU, {size}", details)


def loop_lstm(size: LoopSize = LoopSize(neurons=1, width=256), effort: Effort = NORMAL) -> Measured:
    """A training step of one neuron with an LSTM, against that of PyTorch's LSTM of its size."""
    torch.manual_seed(0)
    config = inn.Graph(neurons=1, width=size.width, rounds=1, router="static", memory="lstm").config
    ours, theirs = LSTM(config), nn.LSTM(size.width, size.width, batch_first=True)
    state = ours.initial_state(size.batch)
    x = torch.randn(size.batch, size.length, size.width)
    works = {
        "inn": _step(ours, lambda x: ours(x[:, :, None], state)[0], x),
        "torch": _step(theirs, lambda x: theirs(x)[0], x),
    }
    times = in_turns(works, effort)
    return Measured(times["inn"].median / times["torch"].median, "float32", f"LSTM, {size}", {"seconds": spread(times)})


def feedback(size: LoopSize = LoopSize(rounds=2), effort: Effort = BRIEF) -> Measured:
    """A graph of GRUs that hear what was said a step before: one call, against one for each step, both ways."""
    return _feedback("gru", "GRU", size, effort)


def feedback_mamba(size: LoopSize = LoopSize(64, 40, 4, 16, 2), effort: Effort = BRIEF) -> Measured:
    """The same of Mambas, as small as in `inn study where --rows state`."""
    return _feedback("mamba", "Mamba", size, effort)


def _feedback(memory: str, name: str, size: LoopSize, effort: Effort) -> Measured:
    torch.manual_seed(0)
    layer = inn.Graph(neurons=size.neurons, width=size.width, rounds=size.rounds, memory=memory, lag=1)
    x = torch.randn(size.batch, size.length, size.neurons * size.width, requires_grad=True)

    def at_once() -> None:
        layer(x)[0].sum().backward()

    def stepping() -> None:
        state, said = None, []
        for t in range(size.length):
            y, state = layer(x[:, t : t + 1], state)
            said.append(y)
        torch.cat(said, 1).sum().backward()

    times = in_turns({"steps": stepping, "graph": at_once}, effort)
    ratio = times["steps"].median / times["graph"].median
    return Measured(ratio, "float32", f"{name}, {size}, {size.rounds} rounds", {"seconds": spread(times)})


def _gru(size: LoopSize, heard: int) -> list[Tensor]:
    """x, state, weight and bias of GRU cells that hear so many neurons."""
    B, T, N, D = size.batch, size.length, size.neurons, size.width
    weight = torch.randn(N, 3 * D, heard * D) / (heard * D) ** 0.5
    x = torch.randn(N, B, T, 3 * D).permute(1, 2, 0, 3)  # in memory neuron by neuron, as separate maps leave it
    given = x, torch.zeros(B, N, 1, D), weight, torch.zeros(N, D)
    return [t.requires_grad_() for t in given]


def _both_ways(given: list[Tensor], backend: str | None = None) -> Work:
    def work() -> None:
        y, state = recurrence("gru", given[0], given[1], None, None, *given[2:])
        torch.autograd.grad((y, state), given, (torch.ones_like(y), torch.ones_like(state)))

    def forced() -> None:
        with use_backend(backend or ""):
            work()

    return forced if backend else work


def _step(model: nn.Module, forward, x: Tensor) -> Work:
    """A training step: gradients cleared, forward, backward to the weights and the input, AdamW."""
    optimizer = build_optimizer(model, TrainConfig())
    leaf = x.clone().requires_grad_()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        forward(leaf).square().mean().backward()
        optimizer.step()

    return step
