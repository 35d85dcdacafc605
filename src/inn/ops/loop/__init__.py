"""A non-linear recurrence in one loop over time: the cells of recurrent memories, each neuron's or the population's.

The cells and what they are given are in `inn.ops.loop.cells`; the loop itself in `inn.ops.loop.reference`.
"""

from inn.ops.dispatch import Backend, Op
from inn.ops.loop.cpu import recurrence_cpu, refuses
from inn.ops.loop.reference import recurrence_reference
from inn.ops.loop.triton import recurrence_triton
from inn.ops.loop.triton import refuses as refuses_triton

recurrence = Op(
    "recurrence",
    Backend("cpu", recurrence_cpu, refuses, kernel=True),
    Backend("triton", recurrence_triton, refuses_triton, kernel=True),
    Backend("reference", recurrence_reference),
    Backend("torch", recurrence_reference),  # PyTorch's own operations, by the name that asks for them
)

__all__ = ["recurrence"]
