"""What it costs to look inside: recording while a text is scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from inn.analysis import record
from inn.bench.measure import Effort, in_turns
from inn.bench.rows import Measured
from inn.bench.steps import VOCAB
from inn.config import model_config
from inn.evaluation import evaluate
from inn.models import build_model

STEADY = Effort(rounds=8, seconds=20.0)


@dataclass(frozen=True)
class TextSize:
    """A model of the default kind, and a text to score in parts side by side."""

    model: dict[str, Any] = field(default_factory=dict)
    symbols: int = 32_768
    streams: int = 8


def record_cost(size: TextSize = TextSize(), effort: Effort = STEADY) -> Measured:
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
        f"N {c.neurons}, D {c.width}, {c.rounds} rounds, router {c.router}, {size.symbols:,} symbols in "
        f"{size.streams} streams",
        {"seconds": {name: t.to_dict() for name, t in times.items()}},
    )
