"""A text and a configuration small enough to train in a second."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig

sys.path.insert(0, str(Path(__file__).parent))  # `toys`
collect_ignore = ["toys.py"]  # it registers kinds, under one name of the module only

WORDS = "the a cat dog sat ran on under over mat tree and then it was not so very".split()

SMALL = {
    "inn": {"neurons": 2, "width": 8, "rounds": 2, "state": 4, "dropout": 0.1, "recall": {"kind": "last", "slots": 64}},
    "lstm": {"width": 12, "layers": 2, "dropout": 0.1},
    "transformer": {"width": 16, "layers": 2, "heads": 2, "window": 16, "dropout": 0.1},
    "mamba-stack": {"width": 12, "layers": 2, "state": 4, "dropout": 0.1},
    "ngram": {"order": 2},
}


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    """18,000 characters or so of a language of 18 words."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "small.txt"
    path.write_text("".join(draw.choice(WORDS) + draw.choice(["\n", " ", " ", " "]) for _ in range(4500)))
    return path


@pytest.fixture
def tiny(text_file):
    """`tiny(kind, **train)`: a configuration of 12 steps of 4 x 16 symbols, the last one not whole."""

    def make(kind: str = "inn", *, model: dict | None = None, data: dict | None = None, **settings) -> RunConfig:
        defaults = {
            "symbols": 4 * 16 * 11 + 30,
            "threads": 1,
            "log_every": 2,
            "eval_every": 4,
            "eval_symbols": 300,
            "sample_every": 0,
            "checkpoint_every": 3,
        }
        fields = {**SMALL.get(kind, {}), **(model or {})}
        if "memory" in fields:
            del fields["state"]
        return RunConfig(
            model_config(kind, **fields),
            DataConfig(**{"corpus": f"file:{text_file}", "batch": 4, "window": 16, **(data or {})}),
            TrainConfig(**{**defaults, **settings}),
        )

    return make
