"""One step of a Mamba memory, its state changed in place: what generating text does at every symbol."""

from inn.ops.dispatch import Backend, Op
from inn.ops.step.cpu import memory_step_cpu, refuses
from inn.ops.step.torch import memory_step_torch

memory_step = Op(
    "memory_step",
    Backend("cpu", memory_step_cpu, refuses),
    Backend("torch", memory_step_torch),
)

__all__ = ["memory_step"]
