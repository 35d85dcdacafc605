"""A sweep of runs that take a fraction of a second."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from inn.sweep.space import Choice, Range, Space
from inn.sweep.work import SweepPlan, plan_sweep

TINY = (
    "--data.batch=4 --data.window=16 --train.symbols=512 --train.log_every=2 --train.eval_every=2 "
    "--train.eval_symbols=200 --train.sample_every=0 --train.checkpoint_every=2 --train.device=cpu --train.threads=1 "
    "--model.kind=lstm --model.layers=1"
).split()
SPACE = Space({"train.lr": Range(1e-3, 1e-1, log=True), "model.width": Choice((4, 8))})


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    """Some 10,000 characters of a language of few words."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    path.write_text(" ".join(draw.choice("the a cat dog sat ran on under mat tree".split()) for _ in range(2500)))
    return path


@pytest.fixture(scope="session")
def tiny(text) -> list[str]:
    """Overrides of all trials."""
    return [*TINY, f"--data.corpus=file:{text}"]


@pytest.fixture
def plan(tmp_path, tiny):
    """`plan(trials=3)`: a sweep in this test's folder."""

    def make(folder: str = "sweep", space: Space = SPACE, overrides: tuple[str, ...] = (), **options) -> SweepPlan:
        options = {"trials": 3, "pruner": "none", **options}
        return plan_sweep("study-smoke", [*tiny, *overrides], space, folder=tmp_path / folder, **options)

    return make
