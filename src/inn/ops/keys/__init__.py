"""Keys of contexts: what a stream has read last, seen in K ways, each hashed to 64 bits."""

from inn.ops.dispatch import Backend, Op
from inn.ops.keys.cpu import keys_cpu, refuses
from inn.ops.keys.history import EMPTY, histories
from inn.ops.keys.reference import COLUMN, LAST, WORD, keys_reference
from inn.ops.keys.torch import hashed, keys_torch
from inn.ops.keys.triton import keys_triton
from inn.ops.keys.triton import refuses as refuses_triton

keys = Op(
    "keys",
    Backend("cpu", keys_cpu, refuses, kernel=True),
    Backend("triton", keys_triton, refuses_triton, kernel=True),
    Backend("torch", keys_torch),
    Backend("reference", keys_reference),
)

__all__ = ["COLUMN", "EMPTY", "LAST", "WORD", "hashed", "histories", "keys"]
