"""Selective scan: the recurrence of a Mamba memory over a population (Gu & Dao 2023, eq. 2-3 of arXiv 2511.22813).

With Δ = softplus(dt), for every stream, neuron, channel e and state s:

    h_t = exp(Δ_t A_es) h_{t-1} + Δ_t x_t B_ts
    y_t = (Σ_s C_ts h_t + D_e x_t) · silu(z_t)
"""

from inn.ops.dispatch import Backend, Op
from inn.ops.scan.cpu import refuses, selective_scan_cpu
from inn.ops.scan.reference import selective_scan_reference
from inn.ops.scan.torch import selective_scan_torch
from inn.ops.scan.triton import refuses as refuses_triton
from inn.ops.scan.triton import selective_scan_triton

selective_scan = Op(
    "selective_scan",
    Backend("cpu", selective_scan_cpu, refuses, kernel=True),
    Backend("triton", selective_scan_triton, refuses_triton, kernel=True),
    Backend("torch", selective_scan_torch),
    Backend("reference", selective_scan_reference),
)

__all__ = ["selective_scan"]
