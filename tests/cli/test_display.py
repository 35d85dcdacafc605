"""The live line of training in terminals of any width."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from inn.cli.display import Display
from inn.training.events import Progress, Sampled, Started

STARTED = Started(0, Path("runs/x"), 489, 1_000_000, "inn", 258_503, "cpu, 2 threads", "character", "BPC", {})
PROGRESS = Progress(150, 489, 300_000, 1.4, 2.02, 0.005, 0.59, 7290.0, 3.87, 0.0, 40.0, 4000.0)


@pytest.mark.parametrize("width", [120, 80, 60, 40])
def test_the_time_left_is_always_to_be_seen(width):
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=width, color_system=None)) as display:
        display(STARTED)
        display(PROGRESS)
        line = display._progress(PROGRESS).plain
    assert len(line) < width
    assert "1:06:40 left" in line
    assert "2.020 BPC" in line
    assert ("━" in line) == (width >= 60)


def test_samples_are_shown_on_request():
    for samples in (False, True):
        out = io.StringIO()
        with Display(Console(file=out), samples=samples) as display:
            display(Sampled(3, "the graph"))
        assert ("the graph" in out.getvalue()) == samples


def test_quiet_keeps_progress_to_itself(inn, small, corpus, tmp_path):
    result = inn("train", "demo", "--run", tmp_path / "run", "--data.corpus", f"file:{corpus}", *small, "--quiet")
    assert result.code == 0
    assert "step" not in result.out + result.err
    assert "the run is in" in result.out
