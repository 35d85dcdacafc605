"""Compiles the Triton kernels that calls of the ops would launch, for a GPU that is not there.

    python tests/ops/compile_for_gpu.py 90 all float32 bfloat16

prints one JSON object a kernel: its name, type, registers, bytes of stack (spilled registers) and of shared memory.
The chip is NVIDIA's compute capability or AMD's name (gfx942); `few` in place of `all` takes each kernel once.
Runs without TRITON_INTERPRET, in a process of its own: Triton decides when it is imported what its functions are.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


class _NoGPU:
    """What Triton asks of a driver before it launches anything."""

    def __init__(self, chip: str):
        self.target = GPUTarget("hip", chip, 64) if chip.startswith("gfx") else GPUTarget("cuda", int(chip), 32)

    def get_current_target(self):
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def kernels_of(call: Callable[[], object], chip: str) -> list:
    """The compiled kernels that `call` would launch; what it computes is left unwritten."""
    compiled = []

    def compile_only(self, grid):
        return lambda *args, **kwargs: compiled.append(self.run(*args, grid=grid, warmup=True, **kwargs))

    triton.runtime.driver.set_active(_NoGPU(chip))
    launch = JITFunction.__getitem__
    JITFunction.__getitem__ = compile_only
    try:
        call()
    finally:
        JITFunction.__getitem__ = launch
    return compiled


def usage(kernel) -> dict[str, int]:
    """Registers, bytes of stack and of shared memory of a compiled kernel, as the vendors' own tools count them."""
    if "amdgcn" in kernel.asm:
        text = kernel.asm["amdgcn"]
        registers, spilled = (re.search(rf"\.vgpr_{what}:\s+(\d+)", text)[1] for what in ("count", "spill_count"))
        found = {"REG": registers, "STACK": 4 * int(spilled), "SHARED": 0}
    else:
        with tempfile.TemporaryDirectory() as folder:
            binary = Path(folder, "kernel.cubin")
            binary.write_bytes(kernel.asm["cubin"])
            text = subprocess.run([TOOL, "-res-usage", binary], capture_output=True, text=True, check=True).stdout
        found = dict(re.findall(r"(REG|STACK|SHARED):(\d+)", text))
    return {
        "registers": int(found["REG"]),
        "stack": int(found["STACK"]),
        "shared": max(int(found["SHARED"]), kernel.metadata.shared),
        "warps": kernel.metadata.num_warps,
    }


def scan(kind: torch.dtype, states: int = 16, separate: bool = False, flags: bool = False) -> None:
    b, t, n, e = 2, 80, 2, 64
    x, dt, z = (torch.empty(b, t, n, e, dtype=kind) for _ in range(3))
    B, C = (torch.empty(b, t, n, states, dtype=kind) for _ in range(2))
    p = n if separate else 1
    A, D, state = torch.empty(p, e, states), torch.empty(p, e), torch.empty(b, n, e, states)
    extra = [torch.ones(b, t, dtype=torch.bool) if flags else None] * 2
    period = 32 * -(-states // 16)
    args = (x, dt, A, B, C, D, z, state, *extra)
    _, _, kept = torch.ops.inn.triton_selective_scan_fwd(*args, period)
    torch.ops.inn.triton_selective_scan_bwd(x, state, *args, kept, period)


def conv(kind: torch.dtype, separate: bool = False, flags: bool = False) -> None:
    b, t, n, e, taps = 2, 80, 2, 128, 4
    x, p = torch.empty(b, t, n, e, dtype=kind), n if separate else 1
    extra = [torch.ones(b, t, dtype=torch.bool) if flags else None] * 2
    args = (x, torch.empty(p, e, taps), torch.empty(p, e), torch.empty(b, n, taps - 1, e), *extra)
    torch.ops.inn.triton_causal_conv_fwd(*args)
    torch.ops.inn.triton_causal_conv_bwd(x, args[-3], *args)


def attention(kind: torch.dtype, neurons: int, width: int, dropout: float = 0.0, weights: bool = False) -> None:
    from inn.ops.attention.triton import tile

    heads = 4
    q, k, v = (torch.empty(2, 3, neurons, heads * width, dtype=kind) for _ in range(3))
    edges = torch.ones(neurons, neurons, dtype=torch.bool) if weights else None
    seed = torch.zeros(1, dtype=torch.int64) if dropout else None
    keep = neurons > tile(kind, width)
    args = (q, k, v, heads, edges, dropout, seed)
    out, lse, _ = torch.ops.inn.triton_neuron_attention_fwd(*args, keep, weights)
    torch.ops.inn.triton_neuron_attention_bwd(q, *args, *((out, lse) if keep else (None, None)))


def linear(kind: torch.dtype, inputs: int, outputs: int) -> None:
    x, weight = torch.empty(8, 128, 8, inputs, dtype=kind), torch.empty(8, outputs, inputs, dtype=kind)
    y = torch.ops.inn.triton_neuron_linear_fwd(x, weight, torch.empty(8, outputs, dtype=kind))
    torch.ops.inn.triton_neuron_linear_bwd(y, x, weight)


def loop(kind: torch.dtype, cell: str, units: int, flags: bool = False) -> None:
    b, t, n = 20, 8, 2
    gates, states = {"elman": (1, 1), "gru": (3, 1), "lstm": (4, 2), "slstm": (4, 4)}[cell]
    x, state = torch.empty(b, t, n, gates * units, dtype=kind), torch.empty(b, n, states, units)
    extra = [torch.ones(b, t, dtype=torch.bool), torch.ones(b, t, n, dtype=torch.bool)] if flags else [None] * 2
    bias = torch.empty(n, units) if cell == "gru" else None
    args = (x, state, *extra, torch.empty(n, gates * units, units), bias)
    y, last, kept = torch.ops.inn.triton_recurrence_fwd(*args, cell, True)
    torch.ops.inn.triton_recurrence_bwd(y, last, *args, kept, cell)


def edges(kind: torch.dtype, width: int, full: bool = False) -> None:
    b, t, n, degree, heads = 2, 3, 300, 16, 4
    ops, q = torch.ops.inn, torch.empty(b, t, n, heads * width, dtype=kind)
    listed = torch.zeros(n, degree, dtype=torch.int64), torch.ones(n, degree, dtype=torch.bool)
    weights, signs = torch.empty(n, degree), torch.ones(n, degree, dtype=torch.int64)
    args = (*listed, *((signs, weights, torch.ones(b, t, n, dtype=torch.bool)) if full else [None] * 3))
    out, lse, _ = ops.triton_neighbour_attention_fwd(q, q, q, heads, *args, True, full)
    ops.triton_neighbour_attention_bwd(q, q, q, q, heads, *args, out, lse)
    ops.triton_neighbour_sum_fwd(q, weights, *listed)
    ops.triton_neighbour_spread(q, weights, *listed)
    ops.triton_neighbour_scores(q, q, heads, *listed)


def messages(kind: torch.dtype, width: int, outputs: int) -> None:
    x, weight = torch.empty(8, 16, 64, width, dtype=kind), torch.empty(64, outputs, 8, width, dtype=kind)
    args = (torch.zeros(64, 8, dtype=torch.int64), torch.ones(64, 8, dtype=torch.bool), None)
    y = torch.ops.inn.triton_neighbour_messages_fwd(x, weight, *args)
    torch.ops.inn.triton_neighbour_messages_bwd(y, x, weight, *args)


def contexts(kind: torch.dtype, narrow: bool) -> None:
    """Of whole numbers, whatever the type; with letters, reset and mask."""
    from inn.ops.counts.triton import counts_triton
    from inn.ops.keys.triton import keys_triton

    b, t, specs = 2, 80, [(0, 0, 3), (1, 1, 0), (2, 4, 0)]
    tokens, flags = torch.zeros(b, t, dtype=torch.int64), [torch.ones(b, t, dtype=torch.bool)] * 2
    before, after, _ = keys_triton(tokens, tokens[:, :9], specs, flags[0][0], *flags)
    counts_triton(tokens, before, after, torch.zeros(b, 3, 64, 16, dtype=torch.int32), narrow, *flags)


CALLS: dict[str, Callable[[torch.dtype], None]] = {
    "scan": scan,
    "scan, separate, reset and mask": lambda kind: scan(kind, 16, True, True),
    "scan, 64 states": lambda kind: scan(kind, 64),
    "conv": conv,
    "conv, separate, reset and mask": lambda kind: conv(kind, True, True),
    "loop, gru, 32 units": lambda kind: loop(kind, "gru", 32),
    "loop, slstm, 32 units, reset and mask": lambda kind: loop(kind, "slstm", 32, True),
    "loop, lstm, 128 units": lambda kind: loop(kind, "lstm", 128),
    "loop, elman, 64 units": lambda kind: loop(kind, "elman", 64),
    "linear, 64 by 256": lambda kind: linear(kind, 64, 256),
    "linear, 32 by 32": lambda kind: linear(kind, 32, 32),
    "linear, 256 by 1024": lambda kind: linear(kind, 256, 1024),
    "attention, 32 neurons": lambda kind: attention(kind, 32, 32, 0.1),
    "attention, 8 neurons": lambda kind: attention(kind, 8, 16),
    "attention, 64 neurons": lambda kind: attention(kind, 64, 64, 0.1, True),
    "attention, 256 neurons": lambda kind: attention(kind, 256, 32, 0.1, True),
    "attention, 32 neurons, 128 wide": lambda kind: attention(kind, 32, 128, 0.1),
    "listed edges, 4 wide": lambda kind: edges(kind, 4),
    "listed edges, 32 wide, with signs and who is there": lambda kind: edges(kind, 32, True),
    "messages, 16 to 64": lambda kind: messages(kind, 16, 64),
    "messages, 64 to 256": lambda kind: messages(kind, 64, 256),
    "keys and counts, narrow": lambda kind: contexts(kind, True),
    "keys and counts": lambda kind: contexts(kind, False),
}


FEW = (
    "scan",
    "conv",
    "loop, gru, 32 units",
    "linear, 64 by 256",
    "attention, 32 neurons",
    "attention, 256 neurons",
    "listed edges, 32 wide, with signs and who is there",
    "messages, 64 to 256",
    "keys and counts, narrow",
)  # every kernel once


def main(chip: str, which: str, *kinds: str) -> None:
    from inn.ops import gpu

    # as for a tensor that is on such a GPU
    gpu.exact_product = lambda t: "ieee" if chip.startswith("gfx") else "tf32x3"
    for name in FEW if which == "few" else CALLS:
        for kind in kinds:
            for kernel in kernels_of(lambda n=name, k=kind: CALLS[n](getattr(torch, k)), chip):
                print(json.dumps({"call": name, "kernel": kernel.name, "type": kind, **usage(kernel)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
