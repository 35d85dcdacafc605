from __future__ import annotations

from pathlib import Path

import pytest

from inn.cli.main import main


@pytest.fixture(scope="session")
def run(tmp_path_factory, cache) -> Path:
    """A finished run with something to recall."""
    path = tmp_path_factory.mktemp("export") / "run"
    tiny = "--model.neurons 2 --model.width 8 --model.rounds 1 --model.recall.slots 256 --data.window 32"
    assert main(["train", "demo", "--run", str(path), *tiny.split(), "--train.symbols", "1024"]) == 0
    return path
