"""Votes: what counts of followers say about the next symbol, by a learned number for each kind of count.

The ops are taken from here, not from `inn.ops`, where `votes` would hide this package.
"""

from inn.ops.dispatch import Backend, Op
from inn.ops.votes.cpu import expected_cpu, refuses_expected, refuses_votes, votes_cpu
from inn.ops.votes.reference import BUCKETS, expected_reference, votes_reference
from inn.ops.votes.torch import expected_torch, votes_torch

votes = Op(
    "votes",
    Backend("cpu", votes_cpu, refuses_votes, kernel=True),
    Backend("torch", votes_torch),
    Backend("reference", votes_reference),
)
expected = Op(
    "expected",
    Backend("cpu", expected_cpu, refuses_expected, kernel=True),
    Backend("torch", expected_torch),
    Backend("reference", expected_reference),
)

__all__ = ["BUCKETS", "expected", "votes"]
