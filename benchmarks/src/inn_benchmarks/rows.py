"""What the benchmark measures: one row per ratio, with the limit it must reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """A ratio to measure, or a time where a person waits.

    Attributes:
        what: what the ratio is, in one line.
        unit: how the number reads: `x` (times), `share`, `slope`, `characters/s`; what a person waits for is no ratio
            but seconds `s`, milliseconds `ms`, frames `/s` and megabytes `MB`; what is to be equal has a `difference`.
        run: the function that measures it, as `module:function`.
        limit: what must be reached; None where the ratio is only reported.
        better: which side of the limit is the good one.
        peers: whether the row needs the packages of `environment.py`, or only makes use of them.
    """

    what: str
    unit: Literal["x", "share", "slope", "characters/s", "s", "ms", "/s", "MB", "difference"]
    run: str
    limit: float | None = None
    better: Literal["at least", "at most"] | None = None
    peers: Literal["needed", "welcome"] | None = None

    def reached(self, ratio: float) -> bool | None:
        """Whether a ratio is on the good side of the limit; None where there is none.

        >>> Row("", "x", "", 5, "at least").reached(5.0), Row("", "x", "", 1.15, "at most").reached(1.2)
        (True, False)
        """
        if self.limit is None:
            return None
        return ratio >= self.limit if self.better == "at least" else ratio <= self.limit


@dataclass
class Measured:
    """What a row's function hands back.

    Attributes:
        ratio: the row's number.
        dtype: of the model's arithmetic, as `torch.autocast` or the weights have it.
        sizes: model, batch and time, in words.
        details: what the ratio was made of: times in seconds with their spread, FLOPs, further comparisons.
    """

    ratio: float
    dtype: str
    sizes: str
    details: dict[str, Any] = field(default_factory=dict)


class Skipped(Exception):
    """This machine cannot measure the row; the message says why."""


def number(value: float | None, unit: str) -> str:
    """A row's number for people.

    >>> number(24.06, "x"), number(0.618, "share"), number(210000.4, "characters/s"), number(None, "x")
    ('24.1×', '0.62', '210,000/s', '–')
    >>> number(41.3, "s"), number(38.0, "ms"), number(7.25, "MB"), number(58.6, "/s"), number(2e-6, "difference")
    ('41.3 s', '38.0 ms', '7.2 MB', '58.6/s', '2e-06')
    """
    if value is None:
        return "–"
    if unit == "x":
        return f"{value:.1f}×" if value >= 10 else f"{value:.2f}×"
    if unit == "characters/s":
        return f"{value:,.0f}/s"
    if unit in ("s", "ms", "MB"):
        return f"{value:,.1f} {unit}"
    if unit == "difference":
        return f"{value:.0e}"
    return f"{value:.1f}/s" if unit == "/s" else f"{value:.2f}"


def limit(row: dict[str, Any]) -> str:
    """The limit with its side, for people."""
    if row["limit"] is None:
        return "report"
    return f"{'≥' if row['better'] == 'at least' else '≤'} {number(row['limit'], row['unit'])}"


def verdict(row: dict[str, Any]) -> str:
    """What became of a row, in a word or two."""
    if row["error"] is not None:
        return "broke"
    if row["skipped"]:
        return "skipped"
    return {True: "reached", False: "not reached", None: "reported"}[row["reached"]]


ROWS: dict[str, Row] = {
    "scan": Row(
        "scan, forward + backward: the sequential PyTorch loop ÷ the fused op",
        "x", "inn_benchmarks.scan:scan", 20.0, "at least",
    ),
    "resting": Row(
        "training step, 64 neurons of width 32: all at work ÷ a quarter of them at each step, the others at rest",
        "x", "inn_benchmarks.resting:resting", 2.5, "at least",
    ),
    "loop": Row(
        "non-linear recurrence, a GRU cell in every neuron, forward + backward: the loop in Python ÷ the fused op",
        "x", "inn_benchmarks.loop:loop", 20.0, "at least",
    ),
    "loop-lstm": Row(
        "training step of one neuron with an LSTM ÷ that of `torch.nn.LSTM`",
        "x", "inn_benchmarks.loop:loop_lstm", 1.2, "at most",
    ),
    "feedback": Row(
        "graph of GRUs that hear each other's last step, forward + backward: step by step ÷ in one loop",
        "x", "inn_benchmarks.loop:feedback", 10.0, "at least",
    ),
    "feedback-mamba": Row(
        "graph of Mambas that hear each other's last step, forward + backward: step by step ÷ in one loop",
        "x", "inn_benchmarks.loop:feedback_mamba", 4.0, "at least",
    ),
    "delta-scan": Row(
        "delta rule, forward + backward: the sequential PyTorch loop ÷ the fused op",
        "x", "inn_benchmarks.delta:delta_rule", 10.0, "at least",
    ),
    "delta-memory": Row(
        "a delta memory's forward + backward ÷ that of a Mamba memory of the same width",
        "x", "inn_benchmarks.delta:beside_mamba", 2.0, "at most",
    ),
    "paper-step": Row(
        "training step of preset paper, dropout on: (analytic FLOPs ÷ G) ÷ time",
        "share", "inn_benchmarks.steps:paper_step", 0.60, "at least",
    ),
    "reference-step": Row(
        "training step of preset paper: on reference ops ÷ as it is",
        "x", "inn_benchmarks.steps:reference_step",
    ),
    "gemm-share": Row(
        "training step, Mamba stack 2.6 M, bf16: (matrix FLOPs ÷ G + S) ÷ time",
        "share", "inn_benchmarks.steps:gemm_share", 0.60, "at least",
    ),
    "peers-train": Row(
        "training step, Mamba 2.6 M: the better of mambapy and transformers ÷ inn",
        "x", "inn_benchmarks.peers:train", 5.0, "at least", "needed",
    ),
    "separate-8": Row(
        "training step, separate weights, 8 neurons of width 64: (matrix FLOPs ÷ G + S) ÷ time",
        "share", "inn_benchmarks.steps:separate_8", 0.70, "at least",
    ),
    "separate-32": Row(
        "training step, separate weights, 32 neurons of width 32: (matrix FLOPs ÷ G + S) ÷ time",
        "share", "inn_benchmarks.steps:separate_32", 0.45, "at least",
    ),
    "memory": Row(
        "peak bytes per symbol of a training step: state 64 ÷ state 16",
        "x", "inn_benchmarks.memory:memory", 1.15, "at most",
    ),
    "step-flat": Row(
        "one-symbol step: time at position 100,000 ÷ at position 10 (equal within noise)",
        "x", "inn_benchmarks.stream:step_flat", 1.05, "at most",
    ),
    "peers-generate": Row(
        "generation, batch 1, Mamba 2.6 M: transformers ÷ inn, time per symbol",
        "x", "inn_benchmarks.peers:generate", 5.0, "at least", "needed",
    ),
    "growth": Row(
        "growth of a training step's time with its length T, 256 to 65,536: slope of log time over log T",
        "slope", "inn_benchmarks.growth:growth", 1.05, "at most", "welcome",
    ),
    "neighbours": Row(
        "attention along 16 listed edges of 1,024 neurons, forward + backward: dense under a mask ÷ listed",
        "x", "inn_benchmarks.sparse:neighbours", 10.0, "at least",
    ),
    "neighbours-4096": Row(
        "the same of 4,096 neurons",
        "x", "inn_benchmarks.sparse:neighbours_4096", 40.0, "at least",
    ),
    "messages": Row(
        "a matrix for each of 16 listed edges of 1,024 neurons, forward + backward: a gather and a product ÷ listed",
        "x", "inn_benchmarks.sparse:messages",
    ),
    "groups-1024": Row(
        "training step of attention among 1,024 neurons: the complete graph ÷ 64 groups with 2 % across",
        "x", "inn_benchmarks.sparse:groups", 15.0, "at least",
    ),
    "growth-n": Row(
        "growth of a training step's time with N, 64 to 4,096, each hearing 16 others: slope of log time over log N",
        "slope", "inn_benchmarks.sparse:growth", 1.1, "at most",
    ),
    "record": Row(
        "recording routing and activity while a text is scored: added time ÷ time without",
        "share", "inn_benchmarks.look:record_cost", 0.15, "at most",
    ),
    "look": Row(
        "`inn look` on a run of the demo's size",
        "s", "inn_benchmarks.look:look_time", 60.0, "at most",
    ),
    "page": Row(
        "the page of a passage: its file",
        "MB", "inn_benchmarks.page:page_size", 10.0, "at most",
    ),
    "page-paint": Row(
        "opening it, until something is to be seen",
        "s", "inn_benchmarks.page:page_paint", 2.0, "at most",
    ),
    "page-frames": Row(
        "moving its slider: pictures drawn per second",
        "/s", "inn_benchmarks.page:page_frames", 20.0, "at least",
    ),
    "play": Row(
        "`inn play`: from a key to the picture",
        "ms", "inn_benchmarks.page:keystroke", 100.0, "at most",
    ),
    "hf-generate": Row(
        "time per symbol: `inn generate` ÷ the model inside transformers' `generate`, the loop of which is taken off",
        "x", "inn_benchmarks.hf:generate", 0.85, "at least",
    ),
    "left-pad": Row(
        "in transformers, a batch padded on the left against each prompt alone: greatest difference of a logit",
        "difference", "inn_benchmarks.hf:left_pad", 1e-5, "at most",
    ),
    "install": Row(
        "clean `pip install` of the wheel to the first text, downloads aside; kernels compiled, two training steps",
        "s", "inn_benchmarks.install:install_time", 60.0, "at most",
    ),
    "ddp-2": Row(
        "training step of the default model: 1 process with 2 threads ÷ 2 processes with 1 thread (DDP)",
        "x", "inn_benchmarks.ddp:ddp_2", 0.9, "at least",
    ),
    "score": Row(
        "`inn score` on a pipe: its speed ÷ that of `inn eval` in one strict stream",
        "share", "inn_benchmarks.score:score_speed", 0.80, "at least",
    ),
    "score-memory": Row(
        "`inn score` on a pipe of 100 MB: resident memory at its end, less that after 1 MB",
        "MB", "inn_benchmarks.score:score_memory", 5.0, "at most",
    ),
    "c-step": Row(
        "symbols/s of `inn export --to c`, compiled, on one core ÷ those of `inn generate`",
        "x", "inn_benchmarks.compiled:c_step", 2.0, "at least",
    ),
    "serve": Row(
        "32 texts of 100 symbols: written one after another ÷ together by the engine of `inn serve`",
        "x", "inn_benchmarks.serve:serve_speed", 4.0, "at least",
    ),
    "serve-wait": Row(
        "`inn serve`, 99th percentile of the time from a symbol to the next: 32 clients ÷ one",
        "x", "inn_benchmarks.serve:serve_wait", 5.0, "at most",
    ),
    "serve-memory": Row(
        "`inn serve`, 10,000 requests of which 200 are hostile or cut off, none lost or crossed: growth of its memory",
        "MB", "inn_benchmarks.serve:serve_memory", 20.0, "at most",
    ),
    "gpu-paper": Row(
        "characters/s of training preset paper, distinct identities, dropout on, on a GPU",
        "characters/s", "inn_benchmarks.gpu:gpu_paper", 200_000.0, "at least",
    ),
    "gpu-ops": Row(
        "every op, forward + backward, on a GPU: PyTorch's functions ÷ the Triton kernels (geometric mean)",
        "x", "inn_benchmarks.gpu:gpu_ops",
    ),
    "gpu-loop": Row(
        "loop over time of a GRU and an LSTM cell, forward + backward, on a GPU: Python loop ÷ Triton (geometric mean)",
        "x", "inn_benchmarks.gpu:gpu_loop", 20.0, "at least",
    ),
    "gpu-step": Row(
        "training step of the default model, bf16, on a GPU: (analytic FLOPs ÷ G) ÷ time",
        "share", "inn_benchmarks.gpu:gpu_step",
    ),
    "gpu-generate": Row(
        "symbols/s that the default model writes in one stream, on a GPU",
        "characters/s", "inn_benchmarks.gpu:gpu_generate",
    ),
    "gpu-compile": Row(
        "training step without recall, bf16, on a GPU: as it is ÷ through `torch.compile`",
        "x", "inn_benchmarks.gpu:gpu_compile",
    ),
    "gpu-memory": Row(
        "peak bytes that a training step adds on a GPU: state 64 ÷ state 16",
        "x", "inn_benchmarks.gpu:gpu_memory", 1.15, "at most",
    ),
}  # fmt: skip
"""Every row by its id. G: the rate of a 2048³ matrix product of the row's own dtype and threads, measured in turns with
the step. S: the scan op's own time, forward and backward, at the step's shapes, measured in turns too."""

PROFILED = ("gemm-share", "paper-step", "separate-8", "separate-32", "peers-generate")
"""The rows whose time `inn bench --profile` takes apart, operator by operator."""
