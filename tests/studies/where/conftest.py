"""Data as the real ones are laid out, small and made up."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inn_studies.tasks import logs, register, series, spoken

HEAD = "# made up\n@problemName Made\n@classLabel true a b\n@data\n"
SESSION = ("Invalid user bob from 10.0.0.1", "input_userauth_request: bob [preauth]", "Connection closed by 10.0.0.1")


@pytest.fixture
def aeon(tmp_path, monkeypatch) -> Path:
    """A folder like aeon's, with a set of two classes: `a` rises, `b` falls; one value is missing."""
    folder = tmp_path / "datasets" / "data" / "GunPoint"
    folder.mkdir(parents=True)
    for part, count in (("TRAIN", 10), ("TEST", 6)):
        lines = [f"1,2,3,{4 + i}:0,0,0,{i}:a\n9,8,?,{4 - i},3:0,0,0,{i},1:b\n" for i in range(count)]
        (folder / f"GunPoint_{part}.ts").write_text(HEAD + "".join(lines))
    table = tmp_path / "testing" / "example_results_files" / "classification" / "accuracy"
    table.mkdir(parents=True)
    for name, value in (("HC2", 1.0), ("InceptionTime", 0.9)):
        (table / f"{name}_accuracy.csv").write_text(f"Resamples:,0,1\nGunPoint,{value},0.5\n")
    monkeypatch.setattr(series, "aeon_folder", lambda: tmp_path)
    series.read_ts.cache_clear()
    return tmp_path


@pytest.fixture
def data(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder of data with spoken digits and a log."""
    rng = np.random.default_rng(0)
    rows = [(s, d, t) for s in range(6) for d in range(10) for t in (0, 5, 10)]
    length = rng.integers(300, 900, len(rows)).astype(np.int32)
    kept = {"speaker": 0, "digit": 1, "take": 2}
    (tmp_path / "speech").mkdir()
    np.savez(
        tmp_path / "speech" / "spoken-digits.npz",
        audio=rng.integers(0, 256, length.sum()).astype(np.uint8),
        length=length,
        **{name: np.array([row[at] for row in rows], np.uint8) for name, at in kept.items()},
    )
    (tmp_path / "logs").mkdir()
    lines = [f"Dec 10 06:55:46 host sshd[{100 + i}]: {event}" for i in range(40) for event in SESSION]
    (tmp_path / "logs" / "OpenSSH_2k.log.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    monkeypatch.setenv("INN_DATA", str(tmp_path))
    for cached in (spoken.spoken, logs.templates):
        cached.cache_clear()
    yield tmp_path
    for cached in (spoken.spoken, logs.templates):
        cached.cache_clear()


@pytest.fixture
def registered() -> None:
    """The tasks of the studies under their names, also where the studies are not installed."""
    register()
