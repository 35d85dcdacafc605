"""Groups of 1, 2 and 4 processes on this machine, forked from one that has loaded PyTorch."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig

WORDS = "the a cat dog sat ran on under over mat tree and then it was not so very".split()
BATCH, WINDOW, STEPS = 8, 16, 15


class Groups:
    """`groups(settings=..., run=..., world=...)`: see `worker.py`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *, fails: bool = False, **job: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({name: value for name, value in job.items() if value is not None}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert fails or not any(answer["codes"]), "\n".join(answer["said"])
        return answer


@pytest.fixture(scope="module")
def groups(cache):
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    one = Groups()
    yield one
    os.killpg(one.process.pid, signal.SIGKILL)
    one.process.communicate()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """`settings(parallel="fsdp", model={...})`: the path of a configuration of 15 steps, the last one not whole."""
    folder = tmp_path_factory.mktemp("settings")
    draw = random.Random(0)
    text = folder / "small.txt"
    text.write_text("".join(draw.choice(WORDS) + draw.choice(["\n", " ", " ", " "]) for _ in range(4500)))

    def make(*, model: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **train: Any) -> str:
        # Streams forget often, so that the draws that decide it matter.
        small = {
            "neurons": 2,
            "width": 8,
            "rounds": 2,
            "state": 4,
            "recall": {"kind": "last", "slots": 64, "forget": 0.3},
        }
        kind = (model or {}).pop("kind", "inn")
        if model and "memory" in model:
            del small["state"]
        defaults = {
            "symbols": BATCH * WINDOW * (STEPS - 1) + 61,
            "threads": 1,
            "log_every": 1,
            "eval_every": 5,
            "eval_symbols": 400,
            "sample_every": 0,
            "checkpoint_every": 5,
        }
        config = RunConfig(
            model_config(kind, **{**(small if kind == "inn" else {}), **(model or {})}),
            DataConfig(**{"corpus": f"file:{text}", "batch": BATCH, "window": WINDOW, **(data or {})}),
            TrainConfig(**{**defaults, **train}),
        )
        tree = config.to_dict()
        del tree["model"]["vocab"]
        path = folder / f"{len(list(folder.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump(tree))
        return str(path)

    return make


@pytest.fixture(scope="module")
def alone(groups, settings, tmp_path_factory) -> Path:
    """The run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    groups(settings=settings(), run=str(run), world=1)
    return run


def curve(run: Path | str) -> list[tuple[str, int, float]]:
    """Every loss that a run has logged: kind, step and nats."""
    lines = map(json.loads, (Path(run) / "metrics.jsonl").read_text().splitlines())
    return [(x["event"], x["step"], x.get("loss", x.get("nats"))) for x in lines if x["event"] != "warning"]


@pytest.fixture
def same_curve():
    """Assert that two runs logged the same losses at the same steps, to 1e-5."""

    def check(a: Path | str, b: Path | str, tolerance: float = 1e-5) -> None:
        first, second = curve(a), curve(b)
        assert [x[:2] for x in first] == [x[:2] for x in second]
        assert len(first) == STEPS + 3
        assert max(abs(x[2] - y[2]) for x, y in zip(first, second)) <= tolerance

    return check
