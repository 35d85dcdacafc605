"""What most studies have in common: learning rates from a small sweep, scores on held-out parts, a Markdown table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inn.config.settings import read_recipe
from inn.runs.directory import Run
from inn_studies.lab import Job, Lab
from inn_studies.sizes import SHALLOW, Fields, Size

STREAMS = 4
"""Parts of a split that a final score reads side by side: few, since a model may make use of all it has read."""


def model_settings(size: Size, label: str) -> dict[str, Any]:
    """Settings that choose a model by its label: one of `size.models`, or a kind of the recipe.

    >>> model_settings(Size("demo"), "lstm")
    {'model.kind': 'lstm'}
    """
    if label in size.models:
        return {f"model.{name}": value for name, value in size.models[label].items()}
    assert label in (read_recipe(size.recipe).get("models") or {}), f"{label} is no model of {size.recipe}"
    return {"model.kind": label}


@dataclass(frozen=True)
class Tuned:
    """A model at its best learning rate."""

    label: str
    rate: float
    sweep: dict[str, float | None]
    """Best validation bits by learning rate, seed 0; None where the run diverged."""
    runs: list[Run]
    """At the best rate, one per seed."""


def better_lstm(scores: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Scores by label, the lower the better, with that of the better of its two depths for `lstm`.

    >>> better_lstm({"lstm": [3.0], "lstm, one layer": [2.0]})["lstm"]
    [2.0]
    """
    found = dict(scores)
    if found.get("lstm") and found.get(SHALLOW):
        found["lstm"] = min(found["lstm"], found[SHALLOW], key=statistics.mean)
    return found


def jobs(size: Size, label: str, settings: Fields, rates: Iterable[float], seeds: Iterable[int]) -> list[Job]:
    """The runs of one model over learning rates and seeds."""
    return [
        Job(
            f"{label} {rate:g} {seed}",
            size.recipe,
            {**size.settings, **settings, "train.lr": rate, "train.seed": seed},
        )
        for rate in rates
        for seed in seeds
    ]


def tune(lab: Lab, size: Size, models: Mapping[str, Fields], seeds: int) -> list[Tuned]:
    """Train every model at every rate of its sweep (seed 0), then at its own best rate with the other seeds.

    While the best rate is the last one at an end of the sweep, the sweep goes on beyond it, by the ratio that it has
    there, at most `size.further` rates. The rate is chosen on what training validates on. A model that diverges at
    every rate keeps the lowest.

    Args:
        models: settings by label, over `size.settings`.
    """
    found: dict[str, dict[float, Run]] = {label: {} for label in models}
    wanted = {label: list(size.rates_of.get(label, size.rates)) for label in models}
    while wanted:
        sweeps = {label: jobs(size, label, models[label], rates, [0]) for label, rates in wanted.items()}
        lab.train([job for sweep in sweeps.values() for job in sweep])
        for label, sweep in sweeps.items():
            found[label].update(zip(wanted[label], lab.train(sweep), strict=True))
        beyond = {label: _beyond(size, runs) for label, runs in found.items()}
        wanted = {label: [rate] for label, rate in beyond.items() if rate is not None}
    found = {label: dict(sorted(runs.items())) for label, runs in found.items()}
    best = {label: _best_rate(runs) for label, runs in found.items()}
    chosen = {label: jobs(size, label, models[label], [best[label]], range(seeds)) for label in models}
    lab.train([job for group in chosen.values() for job in group])
    return [
        Tuned(label, best[label], {f"{r:g}": best_bits(run) for r, run in found[label].items()}, lab.train(group))
        for label, group in chosen.items()
    ]


def _best_rate(runs: Mapping[float, Run]) -> float:
    return min(runs, key=lambda rate: (best_bits(runs[rate]) or math.inf, rate))


def _beyond(size: Size, runs: Mapping[float, Run]) -> float | None:
    """The next rate of a sweep that has its best one at an end; None where it has none, or went on long enough."""
    rates = sorted(runs)
    if len(size.rates) < 2 or len(rates) >= len(size.rates) + size.further:
        return None
    best = _best_rate(runs)
    if best == rates[-1]:
        return float(f"{best * best / rates[-2]:.3g}")
    return float(f"{best * best / rates[1]:.3g}") if best == rates[0] else None


def best_bits(run: Run) -> float | None:
    """The best validation of a run, in bits; None where it diverged before or after."""
    summary = run.summary() or {}
    return summary["best"]["bits"] if summary.get("status") == "finished" else None


def score(run: str, split: str, limit: int | None) -> dict[str, Any]:
    """The score of a run on a part of its corpus, as `inn eval` gives it (a measure for `Lab.measure`)."""
    from inn.inference.held_out import evaluate_run

    found = evaluate_run(run, split, streams=STREAMS, limit=limit)
    del found["run"]
    return found


def facts(run: Run) -> dict[str, Any]:
    """What a row says of where it comes from: size, compute, time, settings, data, commit."""
    s = run.summary() or {}
    return {
        "parameters": s["parameters"],
        "training_flops_per_symbol": s["training_flops"],
        "symbols": s["symbols"],
        "training_seconds": s["training_seconds"],
        "config": s["config"],
        "data": s["data"],
        "commit": s["commit"],
        "hardware": s["hardware"],
    }


def scored_rows(lab: Lab, size: Size, models: Sequence[Tuned]) -> list[dict[str, Any]]:
    """The rows of a comparison: tuned models, their facts, and their bits on both held-out parts, seed by seed."""
    runs = [run for model in models for run in model.runs]
    rows = [
        {
            "label": model.label,
            "lr": model.rate,
            "sweep_valid_bits": model.sweep,
            "diverged": sum(bits is None for bits in map(best_bits, model.runs)),
            "scored": {},
            **facts(model.runs[0]),
        }
        for model in models
    ]
    for split in ("valid", "test"):
        scores = iter(lab.measure(score, runs, split=split, limit=size.scored))
        for row, model in zip(rows, models, strict=True):
            found = [s for s in (next(scores) for _ in model.runs) if s is not None]
            row[f"{split}_bits"] = [s["bits"] for s in found]
            row["scored"][split] = found[0]["count"] if found else None
    return rows


def paired(row: Mapping[str, Any], other: Mapping[str, Any], part: str = "valid") -> list[float]:
    """How far a row is behind another, in bits, seed by seed; empty where a seed of either diverged."""
    if row["diverged"] or other["diverged"]:
        return []
    return [a - b for a, b in zip(row[f"{part}_bits"], other[f"{part}_bits"], strict=True)]


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation over seeds.

    >>> spread([1.0, 2.0]), spread([2.125]), spread([])
    ('1.500 ± 0.707', '2.125', '–')
    """
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns whose name ends in `:` are aligned to the right.

    >>> print(markdown(["model", "BPC:"], [["lstm", "1.5"]]))
    | model | BPC |
    | --- | ---: |
    | lstm | 1.5 |
    """
    head = [name.removesuffix(":") for name in columns]
    rule = ["---:" if name.endswith(":") else "---" for name in columns]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))
