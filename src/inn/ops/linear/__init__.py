"""Linear maps of a population: one matrix for all neurons, or one for each."""

from inn.ops.dispatch import Backend, Op
from inn.ops.linear.cpu import neuron_linear_cpu, refuses
from inn.ops.linear.reference import neuron_linear_reference
from inn.ops.linear.torch import neuron_linear_torch
from inn.ops.linear.triton import neuron_linear_triton
from inn.ops.linear.triton import refuses as refuses_triton

neuron_linear = Op(
    "neuron_linear",
    Backend("cpu", neuron_linear_cpu, refuses, kernel=True),
    Backend("triton", neuron_linear_triton, refuses_triton, kernel=True),
    Backend("torch", neuron_linear_torch),
    Backend("reference", neuron_linear_reference),
)

__all__ = ["neuron_linear"]
