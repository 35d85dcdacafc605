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

neighbour_attention = Op(
    "neighbour_attention",
    Backend("cpu", neighbour_attention_cpu, refuses_attention, kernel=True),
    Backend("torch", neighbour_attention_torch),
    Backend("reference", neighbour_attention_reference),
)
neighbour_sum = Op(
    "neighbour_sum",
    Backend("cpu", neighbour_sum_cpu, refuses_sum, kernel=True),
    Backend("torch", neighbour_sum_torch),
    Backend("reference", neighbour_sum_reference),
)
neighbour_scores = Op(
    "neighbour_scores",
    Backend("cpu", scores_cpu, refuses_scores, kernel=True),
    Backend("torch", scores_torch),
    Backend("reference", neighbour_scores_reference),
)
neighbour_messages = Op(
    "neighbour_messages",
    Backend("cpu", neighbour_messages_cpu, refuses_messages, kernel=True),
    Backend("torch", neighbour_messages_torch),
    Backend("reference", neighbour_messages_reference),
)

__all__ = ["neighbour_attention", "neighbour_messages", "neighbour_scores", "neighbour_sum"]
