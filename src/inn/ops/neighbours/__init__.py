"""What neurons hear along listed edges, K sources for each: attention, scores, sums, a matrix for each edge."""

from inn.ops.dispatch import Backend, Op
from inn.ops.neighbours.cpu import (
    neighbour_attention_cpu,
    neighbour_sum_cpu,
    refuses_attention,
    refuses_scores,
    refuses_sum,
)
from inn.ops.neighbours.messages import neighbour_messages_cpu, neighbour_messages_torch, refuses_messages
from inn.ops.neighbours.mix import scores_cpu, scores_torch
from inn.ops.neighbours.reference import (
    neighbour_attention_reference,
    neighbour_messages_reference,
    neighbour_scores_reference,
    neighbour_sum_reference,
)
from inn.ops.neighbours.torch import neighbour_attention_torch, neighbour_sum_torch
from inn.ops.neighbours.triton import neighbour_attention_triton, neighbour_scores_triton, neighbour_sum_triton
from inn.ops.neighbours.triton import refuses_attention as refuses_attention_triton
from inn.ops.neighbours.triton import refuses_scores as refuses_scores_triton
from inn.ops.neighbours.triton import refuses_sum as refuses_sum_triton
from inn.ops.neighbours.triton_messages import neighbour_messages_triton
from inn.ops.neighbours.triton_messages import refuses_messages as refuses_messages_triton

neighbour_attention = Op(
    "neighbour_attention",
    Backend("cpu", neighbour_attention_cpu, refuses_attention, kernel=True),
    Backend("triton", neighbour_attention_triton, refuses_attention_triton, kernel=True),
    Backend("torch", neighbour_attention_torch),
    Backend("reference", neighbour_attention_reference),
)
neighbour_sum = Op(
    "neighbour_sum",
    Backend("cpu", neighbour_sum_cpu, refuses_sum, kernel=True),
    Backend("triton", neighbour_sum_triton, refuses_sum_triton, kernel=True),
    Backend("torch", neighbour_sum_torch),
    Backend("reference", neighbour_sum_reference),
)
neighbour_scores = Op(
    "neighbour_scores",
    Backend("cpu", scores_cpu, refuses_scores, kernel=True),
    Backend("triton", neighbour_scores_triton, refuses_scores_triton, kernel=True),
    Backend("torch", scores_torch),
    Backend("reference", neighbour_scores_reference),
)
neighbour_messages = Op(
    "neighbour_messages",
    Backend("cpu", neighbour_messages_cpu, refuses_messages, kernel=True),
    Backend("triton", neighbour_messages_triton, refuses_messages_triton, kernel=True),
    Backend("torch", neighbour_messages_torch),
    Backend("reference", neighbour_messages_reference),
)

__all__ = ["neighbour_attention", "neighbour_messages", "neighbour_scores", "neighbour_sum"]
