"""Kernels: each op has a `reference` loop to check against the paper, and fast backends that `dispatch` chooses from.

Ops know nothing of neurons as modules: they take tensors laid out `[B, T, N, ...]` and return tensors.
"""

from inn.ops.attention import neuron_attention
from inn.ops.conv import causal_conv
from inn.ops.delta import delta_scan
from inn.ops.dispatch import use_backend
from inn.ops.feedback import feedback_scan
from inn.ops.linear import neuron_linear
from inn.ops.lookup import recall
from inn.ops.loop import recurrence
from inn.ops.neighbours import neighbour_attention, neighbour_messages, neighbour_scores, neighbour_sum
from inn.ops.norm import neuron_norm
from inn.ops.packed import packed_attention, packed_conv, packed_scan
from inn.ops.scan import selective_scan
from inn.ops.step import memory_step

__all__ = [
    "causal_conv",
    "delta_scan",
    "feedback_scan",
    "memory_step",
    "neighbour_attention",
    "neighbour_messages",
    "neighbour_scores",
    "neighbour_sum",
    "neuron_attention",
    "neuron_linear",
    "neuron_norm",
    "packed_attention",
    "packed_conv",
    "packed_scan",
    "recall",
    "recurrence",
    "selective_scan",
    "use_backend",
]
