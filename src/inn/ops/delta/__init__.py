"""Delta rule: a matrix per head that is written where it was read (DeltaNet with a gate, arXiv 2412.06464).

For every stream, neuron and head, with q, k, v the step's vectors, β a number and α = exp(decay):

    S_t = α_t S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ        y_t = S_t q_t

Without β nothing is replaced, S_t = α_t S_{t-1} + v_t k_tᵀ: the recurrence of Mamba-2 (arXiv 2405.21060).
"""

from inn.ops.delta.cpu import delta_scan_cpu, refuses
from inn.ops.delta.reference import delta_scan_reference
from inn.ops.delta.torch import delta_scan_torch
from inn.ops.dispatch import Backend, Op

delta_scan = Op(
    "delta_scan",
    Backend("cpu", delta_scan_cpu, refuses, kernel=True),
    Backend("torch", delta_scan_torch),
    Backend("reference", delta_scan_reference),
)

__all__ = ["delta_scan"]
