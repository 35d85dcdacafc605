"""Attention over the neuron axis of one time step (equation 4 of arXiv 2511.22813)."""

from inn.ops.attention.cpu import neuron_attention_cpu, refuses
from inn.ops.attention.reference import neuron_attention_reference
from inn.ops.attention.torch import neuron_attention_torch
from inn.ops.attention.triton import neuron_attention_triton
from inn.ops.attention.triton import refuses as refuses_triton
from inn.ops.dispatch import Backend, Op

neuron_attention = Op(
    "neuron_attention",
    Backend("cpu", neuron_attention_cpu, refuses, kernel=True),
    Backend("triton", neuron_attention_triton, refuses_triton, kernel=True),
    Backend("torch", neuron_attention_torch),
    Backend("reference", neuron_attention_reference),
)

__all__ = ["neuron_attention"]
