"""Causal depthwise convolution with SiLU and a carried state: the short look-back in front of a scan."""

from inn.ops.conv.cpu import causal_conv_cpu, refuses
from inn.ops.conv.reference import causal_conv_reference
from inn.ops.conv.torch import causal_conv_torch
from inn.ops.dispatch import Backend, Op

causal_conv = Op(
    "causal_conv",
    Backend("cpu", causal_conv_cpu, refuses),
    Backend("torch", causal_conv_torch),
    Backend("reference", causal_conv_reference),
)

__all__ = ["causal_conv"]
