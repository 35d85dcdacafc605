"""The step put together from the ops that a whole sequence runs through; on the `reference` ones it is the bar."""

from __future__ import annotations

from torch import Tensor

from inn.ops.conv import causal_conv
from inn.ops.linear import neuron_linear
from inn.ops.scan import selective_scan


def memory_step_torch(
    x: Tensor,
    into: Tensor | None,
    conv_weight: Tensor,
    conv_bias: Tensor,
    to_scan: Tensor,
    to_dt: Tensor,
    dt_bias: Tensor,
    A_log: Tensor,
    skip: Tensor,
    out: Tensor,
    conv: Tensor,
    ssm: Tensor,
) -> Tensor:
    """Advance every neuron by one step.

    Args:
        x: `[B, 1, N, D]`, or `[B, 1, N, 2E]` without `into`.
        into: `[P, 2E, D]` the in-projection; P is 1 (shared) or N. None where x has been projected already.
        conv_weight, conv_bias: `[P, E, K]` and `[P, E]`.
        to_scan: `[P, R + 2S, E]` what makes dt, B and C.
        to_dt, dt_bias: `[P, E, R]` and `[P, E]`.
        A_log: `[P, E, S]`, A is -exp of it.
        skip: `[P, E]` the direct path.
        out: `[P, D, E]` the out-projection.
        conv: `[B, N, K-1, E]` the last inputs of the convolution; changed in place.
        ssm: `[B, N, E, S]` the state; changed in place.

    Returns:
        `[B, 1, N, D]`.
    """
    E, S, R = A_log.shape[1], A_log.shape[2], to_dt.shape[2]
    u, z = x.split(E, -1) if into is None else neuron_linear(x, into, None, (E, E))
    u, window = causal_conv(u, conv_weight, conv_bias, conv)
    dt, B, C = neuron_linear(u, to_scan, None, (R, S, S))
    y, state = selective_scan(u, neuron_linear(dt, to_dt, dt_bias)[0], -A_log.exp(), B, C, skip, z, ssm)
    conv.copy_(window)
    ssm.copy_(state)
    return neuron_linear(y, out)[0]
