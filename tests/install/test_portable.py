"""Windows and macOS are not broken by construction: the library runs without what only POSIX or Linux has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="another platform needs no make-believe")
SMALL = (
    "--model.neurons 2 --model.width 8 --model.rounds 1 --model.recall.slots 64 --data.batch 4 --data.window 16 "
    "--train.symbols 512 --train.log_every 2 --train.eval_every 4 --train.sample_every 5 --train.checkpoint_every 2 "
    "--train.keep 1 --device cpu"
)


def elsewhere(folder: Path, *arguments: str) -> str:
    """Run `elsewhere.py` in a folder; its compiled kernels are not for another platform, so there is no compiler."""
    environ = {**os.environ, "INN_CACHE": str(folder / "cache"), "CXX": "", "PATH": "/nowhere"}
    script = Path(__file__).with_name("elsewhere.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *arguments], capture_output=True, env=environ, cwd=folder
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.decode("cp1252")


@pytest.mark.slow
def test_every_module_can_be_imported_and_a_model_is_trained_resumed_scored_and_writes(tmp_path):
    text = "a neuron listens, then it speaks: café ≥ tea; " * 200
    (tmp_path / "notes.txt").write_text(text, encoding="utf-8")
    said = elsewhere(
        tmp_path,
        "import",
        f"train demo --run run --data.corpus file:notes.txt {SMALL}",
        "train --resume run",
        "eval run --split test",
        "generate run --tokens 60 --seed 1 --temperature 2",
        "info run",
        "look run --symbols 50",
    )
    assert int(said.split()[1]) > 100  # modules imported
    assert [line.split()[1] for line in said.splitlines() if line.startswith("did ")] == [
        "train", "train", "eval", "generate", "info", "look",
    ]  # fmt: skip
    assert (tmp_path / "run" / "page.html").stat().st_size > 10_000
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) >= 1
