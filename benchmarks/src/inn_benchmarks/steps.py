"""Training steps of our own models, in units of what the machine's matrix product could do in the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.models.size import with_parameters
from inn.ops import use_backend
from inn_benchmarks.measure import BRIEF, NORMAL, Effort, Product, Work, in_turns, spread, train_step
from inn_benchmarks.rows import Measured
from inn_benchmarks.scan import ScanSize, scan_work

VOCAB = 27
"""Symbols: the alphabet of text8, which the published model reads."""


@dataclass(frozen=True)
class StepSize:
    """A training step: batch, length, and fields of the model's configuration."""

    batch: int
    length: int
    model: dict[str, Any] = field(default_factory=dict)

    @property
    def symbols(self) -> int:
        return self.batch * self.length


GEMM = StepSize(16, 256)
PAPER = StepSize(4, 64)
SEPARATE_8 = StepSize(16, 256, {"neurons": 8, "width": 64})
SEPARATE_32 = StepSize(16, 256, {"neurons": 32, "width": 32})


def paper_step(size: StepSize = PAPER, effort: Effort = NORMAL) -> Measured:
    """The published model as it is trained: 32 neurons, all of them computed, dropout on the routing weights."""
    model = paper(size)
    measured = share(model, size, effort)
    measured.details["routing_dropout"] = model.config.router.routing_dropout
    return measured


def reference_step(size: StepSize = StepSize(1, 64), effort: Effort = BRIEF) -> Measured:
    """The same step, and the same with every op of the same model on its reference loop."""
    model = paper(size)
    step = train_step(model, size.batch, size.length, vocab=VOCAB)

    def reference() -> None:
        with use_backend("reference"):
            step()

    times = in_turns({"reference": reference, "step": step}, effort)
    ratio = times["reference"].median / times["step"].median
    return Measured(ratio, "float32", words(model, size), {"seconds": spread(times)})


def gemm_share(size: StepSize = GEMM, effort: Effort = NORMAL) -> Measured:
    """A Mamba stack under bf16 autocast: its products at rate G plus the scans' own time, over the step's time.

    The scans' arithmetic is float32 whatever the type around them, so that G alone is out of reach: `of_G` in the
    details is the analytic FLOPs at rate G over the step's time, and `float32` the same in float32.
    """
    model = stack(**size.model)
    c = model.config
    shape = ScanSize(size.batch, size.length, 1, c.memory.channels(c.width), c.memory.state)
    measured = share(model, size, effort, bf16=True, scan=scan_work(shape, torch.bfloat16))
    details, step = measured.details, measured.details["seconds"]["step"]["median"]
    scans = c.layers * details["seconds"]["scan"]["median"]
    flops = 3 * size.symbols * sum(n for part, n in model.flops().items() if part != "memory.scan")
    details |= {
        "matrix_flops": flops,
        "S": scans,
        "of_G": measured.ratio,
        "float32": share(model, size, effort).ratio,
    }
    measured.ratio = (flops / details["G"] + scans) / step
    return measured


def separate_8(size: StepSize = SEPARATE_8, effort: Effort = NORMAL) -> Measured:
    """Eight neurons of width 64, each with weights of its own."""
    return separate(size, effort)


def separate_32(size: StepSize = SEPARATE_32, effort: Effort = NORMAL) -> Measured:
    """Thirty-two neurons of width 32, each with weights of its own."""
    return separate(size, effort)


def separate(size: StepSize, effort: Effort) -> Measured:
    """Matrix products at rate G plus the scans' own time, over the step's time; an equal stack beside it."""
    model = distinct(size)
    c = model.config
    rival = equal("mamba-stack", model.num_parameters, VOCAB, step=8, layers=6)
    product = Product(torch.float32, effort.product)
    shapes = ScanSize(size.batch, size.length, c.neurons, c.memory.channels(c.width), c.memory.state, c.populations)
    times = in_turns(
        {
            "step": train_step(model, size.batch, size.length, vocab=VOCAB),
            "product": product,
            "scan": scan_work(shapes),
            "stack": train_step(rival, size.batch, size.length, vocab=VOCAB),
        },
        effort,
    )
    matrices = [n for part, n in model.flops().items() if part.endswith(".matrices") or part == "head"]
    flops = 3 * sum(matrices) * size.symbols
    rate = product.flops / times["product"].median
    scans = c.rounds * times["scan"].median
    step = times["step"].median
    return Measured(
        (flops / rate + scans) / step,
        "float32",
        words(model, size),
        {
            "seconds": spread(times),
            "matrix_flops": flops,
            "G": rate,
            "S": scans,
            "scans_per_step": c.rounds,
            "symbols_per_s": size.symbols / step,
            "stack_of_equal_parameters": {
                "parameters": rival.num_parameters,
                "width": rival.config.width,
                "layers": rival.config.layers,
                "symbols_per_s": size.symbols / times["stack"].median,
            },
        },
    )


def share(model: SequenceModel, size: StepSize, effort: Effort, *, bf16: bool = False, **beside: Work) -> Measured:
    """The share of a step's time that its analytic FLOPs would take at rate G; what is `beside` is timed in turns."""
    product = Product(torch.bfloat16 if bf16 else torch.float32, effort.product)
    step = train_step(model, size.batch, size.length, vocab=VOCAB, bf16=bf16)
    times = in_turns({"step": step, "product": product, **beside}, effort)
    rate, seconds = product.flops / times["product"].median, times["step"].median
    flops = model.training_flops * size.symbols
    details = {"seconds": spread(times), "flops": flops, "G": rate, "symbols_per_s": size.symbols / seconds}
    return Measured(flops / rate / seconds, "bfloat16" if bf16 else "float32", words(model, size), details)


def paper(size: StepSize) -> SequenceModel:
    """The published model with fresh weights."""
    torch.manual_seed(0)
    return build_model(model_config("inn", "paper", vocab=VOCAB, **size.model))


def distinct(size: StepSize) -> SequenceModel:
    """A model whose neurons have weights of their own, and nothing but maps, norms, scans and attention."""
    torch.manual_seed(0)
    return build_model(model_config("inn", "distinct", vocab=VOCAB, **size.model))


def stack(**fields: Any) -> SequenceModel:
    """The Mamba stack that speed is measured on: width 256, 6 layers, 2.6 M parameters unless the fields say else."""
    torch.manual_seed(0)
    return build_model(model_config("mamba-stack", vocab=fields.pop("vocab", VOCAB), **fields))


def equal(kind: str, parameters: int, vocab: int, step: int, **fields: Any) -> SequenceModel:
    """A model of this kind with about so many parameters: its width, a multiple of `step`, is chosen."""
    config = model_config(kind, vocab=vocab, width=step, **fields)
    return build_model(with_parameters(config, parameters, step))


def words(model: SequenceModel, size: StepSize) -> str:
    """Model, batch and length, for the table."""
    c = model.config
    if c.kind == "inn":
        shape = f"N {c.neurons}, D {c.width}, {c.rounds} rounds"
    else:
        shape = f"D {c.width}, {c.layers} layers"
    return f"{shape}, state {c.memory.state}, {model.num_parameters:,} parameters, B {size.batch}, T {size.length}"
