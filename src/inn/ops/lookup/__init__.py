"""Recall: the symbol that last followed each context of a stream, kept in a table of fixed size."""

from inn.ops.dispatch import Backend, Op
from inn.ops.lookup.cpu import recall_cpu, refuses
from inn.ops.lookup.reference import EMPTY, RUNS, recall_reference
from inn.ops.lookup.torch import recall_torch

recall = Op(
    "recall",
    Backend("cpu", recall_cpu, refuses, kernel=True),
    Backend("torch", recall_torch),
    Backend("reference", recall_reference),
)

__all__ = ["EMPTY", "RUNS", "recall"]
