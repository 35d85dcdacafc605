"""Scan, convolution and attention over packed steps: neurons that rest leave lists of steps that differ in length."""

from inn.ops.dispatch import Backend, Op
from inn.ops.packed.cpu import (
    packed_attention_cpu,
    packed_conv_cpu,
    packed_scan_cpu,
    refuses_attention,
    refuses_conv,
    refuses_scan,
)
from inn.ops.packed.reference import packed_attention_reference, packed_conv_reference, packed_scan_reference
from inn.ops.packed.torch import packed_attention_torch, packed_conv_torch, packed_scan_torch

packed_attention = Op(
    "packed_attention",
    Backend("cpu", packed_attention_cpu, refuses_attention, kernel=True),
    Backend("torch", packed_attention_torch),
    Backend("reference", packed_attention_reference),
)
packed_scan = Op(
    "packed_scan",
    Backend("cpu", packed_scan_cpu, refuses_scan, kernel=True),
    Backend("torch", packed_scan_torch),
    Backend("reference", packed_scan_reference),
)
packed_conv = Op(
    "packed_conv",
    Backend("cpu", packed_conv_cpu, refuses_conv, kernel=True),
    Backend("torch", packed_conv_torch),
    Backend("reference", packed_conv_reference),
)

__all__ = ["packed_attention", "packed_conv", "packed_scan"]
