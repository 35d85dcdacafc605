"""How a training step's time grows with the number of neurons and with the length, and the log-log plot of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.system.packages import optional
from inn_benchmarks.measure import BRIEF, Effort, in_turns, slope, train_step
from inn_benchmarks.rows import Measured
from inn_benchmarks.steps import VOCAB

PLOT = "results/growth.png"
Points = list[tuple[int, float]]


@dataclass(frozen=True)
class GrowthSize:
    """The two sweeps; each holds the other's size at its first value. Slopes count from `slow` seconds on."""

    neurons: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    lengths: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
    slow: float = 0.05
    model: dict[str, Any] = field(default_factory=lambda: {"width": 16, "rounds": 2})


def growth(size: GrowthSize = GrowthSize(), effort: Effort = BRIEF, plot: str = PLOT) -> Measured:
    """Slopes of log time over log size; the ratio is the one in T. Writes the plot where matplotlib is there."""
    by_neurons = [(n, step_of(size, n, size.lengths[0])) for n in size.neurons]
    by_length = [(length, step_of(size, size.neurons[0], length)) for length in size.lengths]
    sweeps = {
        name: [(x, t.median) for (x, _), t in zip(sweep, in_turns(_named(sweep), effort).values())]
        for name, sweep in (("N", by_neurons), ("T", by_length))
    }
    slopes = {name: slope(p for p in points if p[1] >= size.slow) for name, points in sweeps.items()}
    c = model_config("inn", "distinct", vocab=VOCAB, **size.model)
    return Measured(
        slopes["T"],
        "float32",
        f"D {c.width}, {c.rounds} rounds, separate weights, B 1; T at N {size.neurons[0]}, N at T {size.lengths[0]}",
        {
            "slopes": slopes,
            "points": {name: [list(p) for p in points] for name, points in sweeps.items()},
            "slopes_count_from_s": size.slow,
            "plot": draw(sweeps, slopes, size.slow, Path(plot)),
        },
    )


def step_of(size: GrowthSize, neurons: int, length: int):
    """A training step of a model with so many neurons (preset `distinct`) on one stream of this length."""
    torch.manual_seed(0)
    model = build_model(model_config("inn", "distinct", vocab=VOCAB, neurons=neurons, **size.model))
    return train_step(model, 1, length, vocab=VOCAB)


def _named(sweep: list[tuple[int, Any]]) -> dict[str, Any]:
    return {str(x): work for x, work in sweep}


def draw(sweeps: dict[str, Points], slopes: dict[str, float], slow: float, path: Path) -> str | None:
    """Draw both sweeps on log-log axes into `path`; returns it, or None where there is no matplotlib or no room."""
    matplotlib = optional("matplotlib.figure")
    if matplotlib is None:
        return None
    figure = matplotlib.Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, len(sweeps))
    for ax, (name, points) in zip(axes, sweeps.items()):
        x, y = zip(*points)
        ax.loglog(x, y, "o-", base=2)
        ax.set_yscale("log", base=10)
        ax.axhline(slow, color="0.7", linestyle=":")
        ax.set_xlabel({"N": "neurons N", "T": "length T"}[name])
        ax.set_ylabel("training step (s)")
        ax.set_title(f"slope {slopes[name]:.2f} from {slow * 1000:.0f} ms on")
        ax.grid(True, which="major", alpha=0.3)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError:
        return None
    return str(path)
