"""The folder in which the pinned commands are given: corpus, recipes, runs and exported folders, as in `make.py`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # `pinned` and `old`, for the tests here as for `make.py`


@pytest.fixture(scope="session")
def copies(tmp_path_factory, cache) -> Path:
    """A copy of what is committed: tests may add to it, and change nothing."""
    folder = tmp_path_factory.mktemp("pins")
    for path in [HERE / "corpus.txt", *HERE.glob("*.yaml")]:
        shutil.copy(path, folder)
    for name in ("runs", "exported"):
        shutil.copytree(HERE / name, folder / name)
    return folder


@pytest.fixture
def desk(copies, monkeypatch) -> Path:
    """The copy, made the working directory: a run names its corpus by a relative path."""
    monkeypatch.chdir(copies)
    monkeypatch.setenv("COLUMNS", "200")
    return copies
