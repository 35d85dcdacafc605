"""The delta memory: its op against the naive recurrence, and the memory against Mamba's at equal width."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from inn.config.assemble import graph_config
from inn.nn.memory.groups import build_memory
from inn.ops import delta_scan, use_backend
from inn_benchmarks.measure import NORMAL, Effort, Work, in_turns, spread
from inn_benchmarks.rows import Measured


@dataclass(frozen=True)
class DeltaSize:
    """Shapes of the neurons' streams, `[batch, length, neurons, width]`, and what the delta memory's options are."""

    batch: int = 16
    length: int = 256
    neurons: int = 8
    width: int = 64
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"B {self.batch}, T {self.length}, {self.neurons} neurons of width {self.width}"


def delta_rule(size: DeltaSize = DeltaSize(), effort: Effort = NORMAL) -> Measured:
    """The loop over time in PyTorch, autograd through it, against the op, at the sizes the memory runs it at."""
    torch.manual_seed(0)
    memory = build_memory(_config(size, "delta", size.options))
    heads, keys, values = memory.initial_state(1)["matrix"].shape[2:]
    lead = (size.batch, size.length, size.neurons)
    q, k = (torch.nn.functional.normalize(torch.randn(*lead, heads, keys), dim=-1).flatten(-2) for _ in range(2))
    numbers = [-0.1 * torch.rand(*lead, heads), 2 * torch.rand(*lead, heads)]
    state = torch.zeros(size.batch, size.neurons, heads, keys, values)
    inputs = [t.requires_grad_() for t in (q, k, torch.randn(*lead, heads * values), *numbers, state)]
    g_y, g_state = torch.randn_like(inputs[2]), torch.zeros_like(state)

    def work() -> None:
        y, last = delta_scan(*inputs)
        torch.autograd.grad((y, last), inputs, (g_y, g_state))

    def reference() -> None:
        with use_backend("reference"):
            work()

    times = in_turns({"reference": reference, "rule": work}, effort)
    return Measured(
        times["reference"].median / times["rule"].median,
        "float32",
        f"{size}: {heads} head{'s' * (heads > 1)} of {keys} x {values} each",
        {"seconds": spread(times), "backend": delta_scan.choose(*inputs)[0].name},
    )


def beside_mamba(size: DeltaSize = DeltaSize(), effort: Effort = NORMAL) -> Measured:
    """Forward and backward of a delta memory, against a Mamba memory of the same width, in turns."""
    kinds = {"delta": size.options, "mamba": {}}
    works = {kind: _training(size, kind, options) for kind, options in kinds.items()}
    times = in_turns(works, effort)
    return Measured(
        times["delta"].median / times["mamba"].median, "float32", f"{size}", {"seconds": spread(times), "kinds": kinds}
    )


def _config(size: DeltaSize, kind: str, options: dict[str, Any]) -> Any:
    return graph_config(
        neurons=size.neurons, width=size.width, router="none", memory=kind, memory_options=options, weights="separate"
    )


def _training(size: DeltaSize, kind: str, options: dict[str, Any]) -> Work:
    torch.manual_seed(0)
    memory = build_memory(_config(size, kind, options))
    x = torch.randn(size.batch, size.length, size.neurons, size.width, requires_grad=True)
    state, g, wanted = memory.initial_state(size.batch), torch.randn_like(x), [x, *memory.parameters()]

    def work() -> None:
        torch.autograd.grad(memory(x, state)[0], wanted, g)

    return work
