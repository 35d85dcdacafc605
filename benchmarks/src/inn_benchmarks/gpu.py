"""The published model on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from inn_benchmarks.measure import NORMAL, Effort, in_turns, spread, train_step
from inn_benchmarks.rows import Measured, Skipped
from inn_benchmarks.steps import VOCAB, StepSize, paper

DISTINCT = {"identity": "embedding", "identity_std": 1.0}
"""What tells the published model's neurons apart, which its published code does not."""


@dataclass(frozen=True)
class GPUSize:
    """Length, and the batches that are tried, the smallest first."""

    length: int = 256
    batches: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512)
    model: dict[str, Any] = field(default_factory=dict)


def gpu_paper(size: GPUSize = GPUSize(), effort: Effort = NORMAL, device: str = "cuda") -> Measured:
    """Characters per second of training at the batch that fills the card: the fastest of those that fit."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Skipped("no CUDA device was found")
    model = paper(StepSize(1, 1, {**DISTINCT, **size.model})).to(device)
    speeds: dict[int, float] = {}
    quick = Effort(rounds=2, seconds=0, sample=0.0)
    for batch in size.batches:
        try:
            step = train_step(model, batch, size.length, vocab=VOCAB, bf16=True)
            speeds[batch] = batch * size.length / in_turns({"step": step}, quick)["step"].median
        except torch.OutOfMemoryError:
            break
        finally:
            step = None  # its optimiser and activations
            model.zero_grad(set_to_none=True)
            if device == "cuda":
                torch.cuda.empty_cache()
    if not speeds:
        raise Skipped(f"a batch of {size.batches[0]} does not fit into the GPU's memory")
    best = max(speeds, key=lambda b: speeds[b])
    times = in_turns({"step": train_step(model, best, size.length, vocab=VOCAB, bf16=True)}, effort)
    return Measured(
        best * size.length / times["step"].median,
        "bfloat16",
        f"{model.num_parameters:,} parameters, B {best}, T {size.length}",
        {
            "seconds": spread(times),
            "batches": {str(b): s for b, s in speeds.items()},
            "routing_dropout": model.config.router.routing_dropout,
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
        },
    )
