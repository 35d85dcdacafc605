"""How a run came to be: its curves and what it wrote on the way, as the page shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from inn.runs.directory import Run

POINTS = 600
"""Points of a curve, at most; longer ones are thinned out evenly."""
SAMPLES = 12
"""Texts, at most: the last ones."""
_HEAD = re.compile(r"^--- step (\d+)\n", re.MULTILINE)


def history(run: Run) -> dict[str, Any]:
    """The curves and samples of a run as plain data.

    `train` and `validation`: lists of {symbols, step, bits}, `train` with `effective_neurons` too where there are
    neurons; `floors`: bits of tables of counts; `samples`: {step, text}, oldest first; `facts` of its summary.

    Example: ``history(Run("runs/demo"))["validation"][-1]["bits"]``
    """
    summary = run.summary() or {}
    lines = run.metrics()
    keys = {"train": ("step", "symbols", "bits", "effective_neurons"), "validation": ("step", "symbols", "bits")}
    curves = {
        event: _thinned([{k: line.get(k) for k in wanted} for line in lines if line.get("event") == event])
        for event, wanted in keys.items()
    }
    per_step = next((p["symbols"] / p["step"] for p in curves["train"] if p["step"] and p["symbols"]), None)
    for point in curves["validation"]:
        if point["symbols"] is None and per_step:
            point["symbols"] = round(point["step"] * per_step)
    kept = ("status", "symbols", "parameters", "metric", "seconds", "best", "commit", "device")
    return {
        **curves,
        "floors": summary.get("floors") or {},
        "facts": {key: summary.get(key) for key in kept},
        "samples": samples(run.path / "samples.txt"),
    }


def samples(path: Path) -> list[dict[str, Any]]:
    """The texts of a `samples.txt`; none where there is no such file."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    parts = _HEAD.split(text)[1:]
    found = [{"step": int(step), "text": body.removesuffix("\n\n")} for step, body in zip(parts[::2], parts[1::2])]
    return found[-SAMPLES:]


def _thinned(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(points) <= POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (POINTS - 1))] for i in range(POINTS)]
