"""Counts: the symbols that followed each context of a stream and how often each did, in tables of fixed size."""

from inn.ops.counts.cpu import counts_cpu, refuses
from inn.ops.counts.reference import EMPTY, MOST, RUNS, counts_reference
from inn.ops.counts.torch import counts_torch
from inn.ops.counts.triton import counts_triton
from inn.ops.counts.triton import refuses as refuses_triton
from inn.ops.dispatch import Backend, Op

counts = Op(
    "counts",
    Backend("cpu", counts_cpu, refuses, kernel=True),
    Backend("triton", counts_triton, refuses_triton, kernel=True),
    Backend("torch", counts_torch),
    Backend("reference", counts_reference),
)

__all__ = ["EMPTY", "MOST", "RUNS", "counts"]
