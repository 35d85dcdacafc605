"""The memory of a training step: what its peak adds to a process that has trained before."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
from pathlib import Path

import torch
from torch import nn

from inn_benchmarks.measure import train_step
from inn_benchmarks.rows import Measured, Skipped
from inn_benchmarks.run import call
from inn_benchmarks.steps import VOCAB, StepSize, stack

SIZE = StepSize(16, 256)


def memory(size: StepSize = SIZE, states: tuple[int, int] = (16, 64), rounds: int = 5) -> Measured:
    """Peak bytes per symbol of a Mamba stack's step at two sizes of the state, in turns, in processes of their own."""
    peaks: dict[int, list[int]] = {state: [] for state in states}
    for _ in range(rounds):
        for state in states:
            sizes = {"batch": size.batch, "length": size.length, "model": {**size.model, "state": state}}
            outcome = call("inn_benchmarks.memory:peak", sizes, threads=torch.get_num_threads())
            if "skipped" in outcome:
                raise Skipped(outcome["skipped"])
            peaks[state].append(outcome["bytes"])
    small, large = (statistics.median(peaks[state]) for state in states)
    model = stack(**size.model)
    c = model.config
    return Measured(
        large / small,
        "float32",
        f"Mamba stack, D {c.width}, {c.layers} layers, B {size.batch}, T {size.length}",
        {
            "bytes_per_symbol": {f"state {s}": b / size.symbols for s, b in zip(states, (small, large))},
            "bytes": {f"state {s}": peaks[s] for s in states},
        },
    )


def peak(batch: int, length: int, model: dict) -> dict[str, int]:
    """`added_peak` of a Mamba stack, to be called in a process of its own."""
    return {"bytes": added_peak(stack(**model), batch, length)}


def added_peak(network: nn.Module, batch: int, length: int, vocab: int = VOCAB) -> int:
    """Bytes by which two training steps raise this process's peak above what it held before them.

    Weights, optimiser and kernels are there before: a step on one stream of 8 symbols has been taken.
    """
    train_step(network, 1, 8, vocab=vocab)()
    step = train_step(network, batch, length, vocab=vocab)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc gives back what the small step left
    before = _reset_peak()
    for _ in range(2):
        step()
    return _peak() - before


def _reset_peak() -> int:
    """Let the peak start at what is held now; returns it. Where the system cannot, the peak so far stands for it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The most bytes of memory this process has held since `_reset_peak`."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    from inn.system.provenance import peak_memory

    peak = peak_memory(torch.device("cpu")).get("memory_bytes")
    if peak is None:
        raise Skipped("this system does not tell the peak memory of a process")
    return peak
