"""The stretch step by step, each put together from the ops of a memory without feedback."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.ops.conv import causal_conv
from inn.ops.linear import neuron_linear
from inn.ops.norm import neuron_norm
from inn.ops.norm.reference import EPSILON
from inn.ops.scan import selective_scan


def feedback_reference(
    given: Tensor,
    said: Tensor,
    conv: Tensor,
    ssm: Tensor,
    reset: Tensor | None,
    mask: Tensor | None,
    hear: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    conv_weight: Tensor,
    conv_bias: Tensor,
    to_scan: Tensor,
    to_dt: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    skip: Tensor,
    out: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """At every step y = M(given + R norm(y of the step before)), with the Mamba M of each neuron.

    Args:
        given: `[B, T, N, 2E]` what neurons take in of themselves: signal and gate of their E channels.
        said: `[B, N, D]` y of the step before the first.
        conv: `[B, N, K-1, E]` the last inputs of the convolution, oldest first.
        ssm: `[B, N, E, S]` the state of the scan.
        reset: `[B, T]` bool, said, conv and ssm start at zero before these steps.
        mask: `[B, T]` bool; steps where it is false leave all three unchanged, and put out zeros.
        hear: `[N, 2E, N x D]` R, through which a neuron hears them all.
        gain, bias: `[N, D]` of the norm; without a bias it is the RMS norm, without a gain there is none.
        conv_weight, conv_bias: `[N, E, K]`, oldest tap first, and `[N, E]`.
        to_scan: `[N, r + 2S, E]` what makes dt, B and C.
        to_dt, dt_bias: `[N, E, r]` and `[N, E]`.
        A: `[N, E, S]` negative decay rates.
        skip: `[N, E]` the direct path.
        out: `[N, D, E]` the out-projection.

    Returns:
        y `[B, T, N, D]`, and said, conv and ssm after the last step.
    """
    E, S, found = given.shape[3] // 2, ssm.shape[3], []
    for t in range(given.shape[1]):
        at = slice(t, t + 1)
        fresh, there = (None if flags is None else flags[:, at] for flags in (reset, mask))
        if fresh is not None:
            said = said.masked_fill(fresh[..., None], 0)
        heard = said.to(given.dtype)[:, None]
        if gain is not None and bias is not None:
            heard = neuron_norm(heard, gain, bias)
        elif gain is not None:
            heard = F.rms_norm(heard, heard.shape[-1:], eps=EPSILON) * gain
        everyone = heard.flatten(2)[:, :, None].expand(-1, -1, hear.shape[0], -1)
        taken = given[:, at] + neuron_linear(everyone, hear)[0]
        if there is not None:
            taken = taken.masked_fill(~there[..., None, None], 0)
        u, z = taken.split(E, -1)
        u, conv = causal_conv(u, conv_weight, conv_bias, conv, fresh, there)
        dt, B, C = neuron_linear(u, to_scan, None, (to_dt.shape[2], S, S))
        y, ssm = selective_scan(u, neuron_linear(dt, to_dt, dt_bias)[0], A, B, C, skip, z, ssm, fresh, there)
        y = neuron_linear(y, out)[0]
        if there is not None:
            y = y.masked_fill(~there[..., None, None], 0)
        found.append(y)
        new = y[:, 0].to(said.dtype)
        said = new if there is None else torch.where(there[..., None], new, said)
    return torch.cat(found, 1), said, conv, ssm
