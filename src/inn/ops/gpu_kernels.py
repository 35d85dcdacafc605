"""What several Triton kernels share."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def product(a, b, EXACT: tl.constexpr):
    """The matrix product of two tiles in float32; EXACT says how (`inn.ops.gpu.exact_product`)."""
    if EXACT == "interpreter":  # takes no bfloat16; its products are exact in float32
        return tl.dot(a.to(tl.float32), b.to(tl.float32))
    return tl.dot(a, b, input_precision=EXACT)
