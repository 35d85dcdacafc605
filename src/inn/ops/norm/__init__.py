"""Layer norm of each neuron, with a gain and a bias for all neurons or one for each."""

from inn.ops.dispatch import Backend, Op
from inn.ops.norm.cpu import neuron_norm_cpu, refuses
from inn.ops.norm.reference import neuron_norm_reference
from inn.ops.norm.torch import neuron_norm_torch

neuron_norm = Op(
    "neuron_norm",
    Backend("cpu", neuron_norm_cpu, refuses, kernel=True),
    Backend("torch", neuron_norm_torch),
    Backend("reference", neuron_norm_reference),
)

__all__ = ["neuron_norm"]
