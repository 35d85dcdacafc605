"""What it costs to look inside: recording while a text is scored, and the page of a run."""

from __future__ import annotations

import io
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from inn.analysis.recording.record import record
from inn.cli import look
from inn.config.assemble import model_config
from inn.config.models import INNConfig
from inn.config.settings import resolve_settings
from inn.inference.evaluate import evaluate
from inn.models.build import build_model
from inn.runs.directory import Run
from inn.training.trainer import fit
from inn_benchmarks.measure import Effort, in_turns
from inn_benchmarks.rows import Measured
from inn_benchmarks.steps import VOCAB

STEADY = Effort(rounds=8, seconds=20.0)


@dataclass(frozen=True)
class ScoredSize:
    """A model of the default kind, and a text to score in parts side by side."""

    model: dict[str, Any] = field(default_factory=dict)
    symbols: int = 32_768
    streams: int = 8


@dataclass(frozen=True)
class LookSize:
    """The recipe whose run is looked at, and overrides of it."""

    recipe: str = "demo"
    settings: tuple[str, ...] = ()


def look_time(size: LookSize = LookSize()) -> Measured:
    """Seconds of `inn look` on a run of the demo's size, hardly trained: that changes nothing of the time."""
    brief = ("--train.symbols", "20480", "--train.sample_every", "0", "--train.threads", str(torch.get_num_threads()))
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        fit(resolve_settings(size.recipe, [*brief, *size.settings]), run)
        before = time.perf_counter()
        with redirect_stdout(io.StringIO()):
            look.main([str(run)])
        seconds = time.perf_counter() - before
        page = (run / "page.html").stat().st_size
        c = Run(run).config().model
    assert isinstance(c, INNConfig)
    sizes = f"recipe {size.recipe}: N {c.neurons}, D {c.width}, {c.rounds} rounds"
    return Measured(seconds, "float32", sizes, {"page_bytes": page})


def record_cost(size: ScoredSize = ScoredSize(), effort: Effort = STEADY) -> Measured:
    """`evaluate` while routing and activity are recorded, and without, in turns: (with - without) ÷ without."""
    torch.manual_seed(0)
    model = build_model(model_config("inn", vocab=VOCAB, **size.model))
    text = np.random.default_rng(0).integers(VOCAB, size=size.symbols)

    def plain() -> None:
        evaluate(model, text, streams=size.streams)

    def recorded() -> None:
        with record(model, "routing", "activity"):
            plain()

    times = in_turns({"plain": plain, "recorded": recorded}, effort)
    c = model.config
    return Measured(
        times["recorded"].median / times["plain"].median - 1,
        "float32",
        f"N {c.neurons}, D {c.width}, {c.rounds} rounds, router {c.router.kind}, {size.symbols:,} symbols in "
        f"{size.streams} streams",
        {"seconds": {name: t.to_dict() for name, t in times.items()}},
    )
