"""Neurons with a Mamba each that hear what the others said at the step before: a stretch of steps in one loop."""

from inn.ops.dispatch import Backend, Op
from inn.ops.feedback.cpu import feedback_cpu, refuses
from inn.ops.feedback.reference import feedback_reference

feedback_scan = Op(
    "feedback_scan",
    Backend("cpu", feedback_cpu, refuses, kernel=True),
    Backend("reference", feedback_reference),
    Backend("torch", feedback_reference),  # step by step in the other ops, by the name that asks for PyTorch's own
)

__all__ = ["feedback_scan"]
