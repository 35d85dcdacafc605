"""Causal depthwise convolution with SiLU and a carried state: the short look-back in front of a scan."""

from inn.ops.conv.cpu import causal_conv_cpu, refuses
from inn.ops.conv.reference import causal_conv_reference
from inn.ops.conv.torch import causal_conv_torch
from inn.ops.conv.triton import causal_conv_triton
from inn.ops.conv.triton import refuses as refuses_triton
from inn.ops.dispatch import Backend, Op

causal_conv = Op(
    "causal_conv",
    Backend("cpu", causal_conv_cpu, refuses, kernel=True),
    Backend("triton", causal_conv_triton, refuses_triton, kernel=True),
    Backend("torch", causal_conv_torch),
    Backend("reference", causal_conv_reference),
)

__all__ = ["causal_conv"]
