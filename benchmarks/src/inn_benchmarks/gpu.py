"""Rows that need a GPU: what the kernels, a training step and a step of writing reach there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.ops import (
    causal_conv,
    neighbour_attention,
    neighbour_messages,
    neighbour_sum,
    neuron_attention,
    neuron_linear,
    selective_scan,
    use_backend,
)
from inn_benchmarks.checks import loop_inputs, loop_of
from inn_benchmarks.measure import Effort, Product, Work, in_turns, spread, train_step
from inn_benchmarks.memory import added_peak
from inn_benchmarks.rows import Measured, Skipped
from inn_benchmarks.scan import ScanSize, scan_inputs
from inn_benchmarks.steps import VOCAB, StepSize, paper, stack, words

DISTINCT = {"identity": "embedding", "identity_std": 1.0}
"""What tells the published model's neurons apart, which its published code does not."""
SHORT = Effort(seconds=4.0, sample=0.05)
"""What a reading takes where the whole has 12 minutes."""

OPS, STEP, WRITING = ScanSize(32, 256, 8, 128), StepSize(64, 256), StepSize(64, 1)
LOOP = ScanSize(16, 256, 8, 32)
NO_RECALL = StepSize(64, 256, {"recall": "none"})


@dataclass(frozen=True)
class GPUSize:
    """Length, and the batches that are tried, the smallest first."""

    length: int = 256
    batches: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512)
    model: dict[str, Any] = field(default_factory=dict)


def on_card(device: str) -> None:
    """Raise `Skipped` where the card that is asked for is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Skipped("no CUDA device was found")


def synced(work: Work, device: str) -> Work:
    """A work that returns when the device is done with it."""
    if device != "cuda":
        return work

    def done() -> None:
        work()
        torch.cuda.synchronize()

    return done


def gpu_paper(size: GPUSize = GPUSize(), effort: Effort = SHORT, device: str = "cuda") -> Measured:
    """Characters per second of training at the batch that fills the card: the fastest of those that fit."""
    on_card(device)
    model = paper(StepSize(1, 1, {**DISTINCT, **size.model})).to(device)
    speeds: dict[int, float] = {}
    quick = Effort(rounds=2, seconds=0, sample=0.0)
    for batch in size.batches:
        try:
            step = train_step(model, batch, size.length, vocab=VOCAB, bf16=True)
            speeds[batch] = batch * size.length / in_turns({"step": step}, quick)["step"].median
        except torch.OutOfMemoryError:
            break
        finally:
            step = None  # its optimiser and activations
            model.zero_grad(set_to_none=True)
            if device == "cuda":
                torch.cuda.empty_cache()
    if not speeds:
        raise Skipped(f"a batch of {size.batches[0]} does not fit into the GPU's memory")
    best = max(speeds, key=lambda b: speeds[b])
    times = in_turns({"step": train_step(model, best, size.length, vocab=VOCAB, bf16=True)}, effort)
    return Measured(
        best * size.length / times["step"].median,
        "bfloat16",
        f"{model.num_parameters:,} parameters, B {best}, T {size.length}",
        {
            "seconds": spread(times),
            "batches": {str(b): s for b, s in speeds.items()},
            "routing_dropout": model.config.router.routing_dropout,
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
        },
    )


def gpu_ops(size: ScanSize = OPS, effort: Effort = SHORT, device: str = "cuda") -> Measured:
    """Each op forward and backward, on PyTorch's own functions against the Triton kernels, in both types."""
    on_card(device)
    torch.manual_seed(0)
    ratios, seconds = {}, {}
    for kind in (torch.float32, torch.bfloat16):
        for name, (op, inputs) in _op_inputs(size, kind, device).items():
            works = {backend: synced(_both_ways(op, inputs, backend), device) for backend in ("torch", "triton")}
            try:
                times = in_turns(works, effort)
            except torch.OutOfMemoryError:
                continue
            what = f"{name}, {str(kind).removeprefix('torch.')}"
            seconds[what] = spread(times)
            ratios[what] = times["torch"].median / times["triton"].median
    return Measured(
        math.exp(sum(map(math.log, ratios.values())) / len(ratios)),
        "float32 and bfloat16",
        f"B {size.batch}, T {size.length}, N {size.neurons}, {size.channels} channels, state {size.state}",
        {"ratios": ratios, "seconds": seconds},
    )


def gpu_loop(size: ScanSize = LOOP, effort: Effort = SHORT, device: str = "cuda") -> Measured:
    """The loop over steps in PyTorch, autograd through it, against the kernel; `channels` is units."""
    on_card(device)
    torch.manual_seed(0)
    ratios, seconds = {}, {}
    for cell in ("gru", "lstm"):
        inputs = loop_inputs(cell, size.batch, size.length, size.neurons, size.neurons, size.channels)
        inputs = [a.to(device).requires_grad_() for a in inputs]
        op = lambda *given, cell=cell: loop_of(cell)(*given, None, None)  # noqa: E731
        works = {backend: synced(_both_ways(op, inputs, backend), device) for backend in ("reference", "triton")}
        times = in_turns(works, effort)
        seconds[cell] = spread(times)
        ratios[cell] = times["reference"].median / times["triton"].median
    return Measured(
        math.prod(ratios.values()) ** 0.5,
        "float32",
        f"B {size.batch}, T {size.length}, N {size.neurons}, {size.channels} units",
        {"ratios": ratios, "seconds": seconds},
    )


def _op_inputs(size: ScanSize, kind: torch.dtype, device: str) -> dict[str, tuple[Callable[..., Any], list[Tensor]]]:
    b, t, n, e = size.batch, size.length, size.neurons, size.channels

    def r(*shape: int, dtype: torch.dtype = kind) -> Tensor:
        return torch.randn(*shape, device=device, dtype=dtype).requires_grad_()

    scan = [a.detach().to(device).requires_grad_() for a in scan_inputs(size, kind)]
    f32 = torch.float32
    conv = [r(b, t, n, e), r(1, e, 4, dtype=f32), r(1, e, dtype=f32), r(b, n, 3, e, dtype=f32)]
    heads = [r(b, t, n, 4, max(1, e // 8)) for _ in range(3)]
    maps = [r(b, t, n, e // 2), r(n, e, e // 2)]
    many, d, degree = 2 * n * n, max(1, e // 16), min(16, 2 * n)  # neurons that hear a few
    listed = (
        torch.randint(many, (many, degree), device=device),
        torch.ones(many, degree, dtype=torch.bool, device=device),
    )
    edges = [r(b, t, many, 2, d) for _ in range(3)]
    return {
        "scan": (selective_scan, scan),
        "convolution": (causal_conv, conv),
        "attention": (neuron_attention, heads),
        "separate maps": (neuron_linear, maps),
        "listed attention": (lambda *given: neighbour_attention(*given, *listed), edges),
        "listed sums": (
            lambda *given: neighbour_sum(*given, *listed),
            [r(b, t, many, 2 * d), r(many, degree, dtype=f32)],
        ),
        "listed messages": (
            lambda *given: neighbour_messages(*given, *listed),
            [r(b, t, many, d), r(many, 4 * d, degree, d)],
        ),
    }


def _both_ways(op: Callable[..., Any], inputs: list[Tensor], backend: str) -> Work:
    def work() -> None:
        with use_backend(backend):
            outputs = op(*inputs)
            outputs = [o for o in (outputs if isinstance(outputs, tuple) else (outputs,)) if o is not None]
            torch.autograd.grad(outputs, inputs, [torch.ones_like(o) for o in outputs])

    return work


def default_model(device: str, **fields: Any) -> SequenceModel:
    """The default model with fresh weights, on a device."""
    torch.manual_seed(0)
    return build_model(model_config("inn", vocab=VOCAB, **fields)).to(device)


def gpu_step(size: StepSize = STEP, effort: Effort = SHORT, device: str = "cuda") -> Measured:
    """The share of a training step's time that its arithmetic would take at rate G, in bfloat16; without recall too."""
    on_card(device)
    product = Product(torch.bfloat16, max(effort.product, 8192) if device == "cuda" else effort.product, device)
    shares, seconds = {}, {}
    for name, fields in {"default": {}, "without recall": {"recall": "none"}}.items():
        model = default_model(device, **{**size.model, **fields})
        step = train_step(model, size.batch, size.length, vocab=VOCAB, bf16=True)
        times = in_turns({"step": step, "product": synced(product, device)}, effort)
        rate = product.flops / times["product"].median
        shares[name] = model.training_flops * size.symbols / rate / times["step"].median
        seconds[name] = {**spread(times), "symbols_per_s": size.symbols / times["step"].median, "G": rate}
    details = {"shares": shares, "seconds": seconds}
    return Measured(shares["default"], "bfloat16", words(default_model("cpu", **size.model), size), details)


def gpu_generate(size: StepSize = WRITING, effort: Effort = SHORT, device: str = "cuda") -> Measured:
    """Symbols per second of `step_`, by which text is written: one stream; many side by side in the details."""
    on_card(device)
    model = default_model(device, **size.model).eval()
    works = {}
    with torch.no_grad():
        for batch in (1, size.batch):
            state = model.initial_state(batch)
            symbols = torch.zeros(batch, dtype=torch.long, device=device)
            works[f"B {batch}"] = synced(lambda symbols=symbols, state=state: model.step_(symbols, state), device)
        times = in_turns(works, effort)
    speeds = {name: int(name[2:]) / t.median for name, t in times.items()}
    return Measured(
        speeds["B 1"], "float32", words(model, StepSize(1, 1)), {"symbols_per_s": speeds, "seconds": spread(times)}
    )


def gpu_compile(
    size: StepSize = NO_RECALL,
    effort: Effort = SHORT,
    device: str = "cuda",
    backend: str = "inductor",
) -> Measured:
    """A training step as it is ÷ the same through `torch.compile`, in bfloat16."""
    on_card(device)
    model = default_model(device, **size.model)
    compiled = torch.compile(model, backend=backend)
    works = {
        "eager": train_step(model, size.batch, size.length, vocab=VOCAB, bf16=True),
        "compiled": train_step(
            model, size.batch, size.length, vocab=VOCAB, bf16=True, logits=lambda tokens: compiled(tokens)[0]
        ),
    }
    times = in_turns(works, effort)
    ratio = times["eager"].median / times["compiled"].median
    return Measured(ratio, "bfloat16", words(model, size), {"seconds": spread(times), "backend": backend})


def gpu_memory(size: StepSize = STEP, device: str = "cuda", states: tuple[int, int] = (16, 64)) -> Measured:
    """Peak bytes on the card that a training step of a Mamba stack adds, at two sizes of the state."""
    on_card(device)
    peaks = {}
    for state in states:
        model = stack(**{**size.model, "state": state}).to(device)
        if device != "cuda":
            peaks[state] = added_peak(model, size.batch, size.length)
            continue
        train_step(model, 1, 8, vocab=VOCAB)()
        step = train_step(model, size.batch, size.length, vocab=VOCAB)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        peaks[state] = torch.cuda.max_memory_allocated() - before
    few, many = states
    return Measured(
        peaks[many] / max(1, peaks[few]),
        "float32",
        f"{words(stack(**size.model), size)}",
        {"bytes_per_symbol": {f"state {state}": peak / size.symbols for state, peak in peaks.items()}},
    )
