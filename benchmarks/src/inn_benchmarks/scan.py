"""The scan op by itself: against its sequential reference, and as the part of a step that no matrix product is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inn.ops import selective_scan, use_backend
from inn_benchmarks.measure import NORMAL, Effort, Work, in_turns, spread
from inn_benchmarks.rows import Measured


@dataclass(frozen=True)
class ScanSize:
    """Shapes of one scan: x is `[batch, length, neurons, channels]`."""

    batch: int = 32
    length: int = 256
    neurons: int = 1
    channels: int = 512
    state: int = 16
    populations: int = 1


def scan(size: ScanSize = ScanSize(), effort: Effort = NORMAL) -> Measured:
    """The loop over time in PyTorch, autograd through it, against the op as the models call it."""
    torch.manual_seed(0)
    work = scan_work(size)

    def reference() -> None:
        with use_backend("reference"):
            work()

    times = in_turns({"reference": reference, "scan": work}, effort)
    chosen, refused = selective_scan.choose(*scan_inputs(size))
    return Measured(
        times["reference"].median / times["scan"].median,
        "float32",
        f"B {size.batch}, T {size.length}, {size.neurons * size.channels} channels, state {size.state}",
        {"seconds": spread(times), "backend": chosen.name, "refused": refused},
    )


def scan_work(size: ScanSize, dtype: torch.dtype = torch.float32) -> Work:
    """One scan, forward and backward, with gradients of every input, as a model calls it."""
    inputs = scan_inputs(size, dtype)
    g_y, g_state = torch.randn_like(inputs[0]), torch.zeros_like(inputs[-1])

    def work() -> None:
        y, state = selective_scan(*inputs)
        torch.autograd.grad((y, state), inputs, (g_y, g_state))

    return work


def scan_inputs(size: ScanSize, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """x, dt, A, B, C, D, z and the state, as a Mamba memory of these sizes has them at the start of training."""
    s, lead = size, (size.batch, size.length, size.neurons)
    x, z = torch.randn(*lead, s.channels), torch.randn(*lead, s.channels)
    dt = torch.randn(*lead, s.channels) - 4.6  # step sizes around 0.01
    B, C = torch.randn(*lead, s.state), torch.randn(*lead, s.state)
    A = -torch.arange(1.0, s.state + 1).repeat(s.populations, s.channels, 1)
    D = torch.ones(s.populations, s.channels)
    state = torch.zeros(s.batch, s.neurons, s.channels, s.state)
    x, dt, B, C, z = (t.to(dtype) for t in (x, dt, B, C, z))
    if s.populations > 1:  # in memory neuron by neuron, as separate maps leave them
        x, dt, B, C, z = (t.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3) for t in (x, dt, B, C, z))
    return [t.requires_grad_() for t in (x, dt, A, B, C, D, z, state)]
