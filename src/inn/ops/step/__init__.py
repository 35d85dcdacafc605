"""One step of a Mamba memory that changes its state in place, for generation."""

from inn.ops.dispatch import Backend, Op
from inn.ops.step.cpu import memory_step_cpu, refuses
from inn.ops.step.torch import memory_step_torch

memory_step = Op(
    "memory_step",
    Backend("cpu", memory_step_cpu, refuses, kernel=True),
    Backend("torch", memory_step_torch),
)

__all__ = ["memory_step"]
