"""A text and a recipe on which a run takes a second."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from inn_studies.lab import Job, Lab

TINY = {
    "data.batch": 4, "data.window": 16, "train.symbols": 4 * 16 * 8, "train.log_every": 2, "train.eval_every": 4,
    "train.eval_symbols": 200, "train.sample_every": 0, "train.checkpoint_every": 2, "train.device": "cpu",
    "model.kind": "lstm", "model.width": 8, "model.layers": 1,
}  # fmt: skip


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    """Some 10,000 characters of a language of few words."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    path.write_text(" ".join(draw.choice("the a cat dog sat ran on under mat tree".split()) for _ in range(2500)))
    return path


@pytest.fixture
def job(text):
    """`job(label, **{"train.lr": 1})`: a run of eight steps."""
    return lambda label, **settings: Job(label, "study-smoke", {**TINY, "data.corpus": f"file:{text}", **settings})


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path / "runs")
