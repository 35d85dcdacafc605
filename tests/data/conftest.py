"""Every test here has a cache of its own, no `INN_DATA`, and files of its own in place of the real corpora."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from inn.data.corpus import Corpus, Download, File
from inn.data.table import CORPORA

SHARED = os.environ.get("INN_DATA")  # read before the fixture below takes it away


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INN_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def inn_data(tmp_path, monkeypatch):
    """An `INN_DATA` folder to fill."""
    folder = tmp_path / "inn-data"
    folder.mkdir()
    monkeypatch.setenv("INN_DATA", str(folder))
    return folder


@pytest.fixture
def real_data(monkeypatch):
    """The `INN_DATA` of whoever runs the tests; skips where there is none with the file asked for."""

    def with_file(name: str) -> Path:
        if not SHARED or not list(Path(SHARED).glob(name + "*")):
            pytest.skip(f"INN_DATA has no {name}")
        monkeypatch.setenv("INN_DATA", SHARED)
        return Path(SHARED)

    return with_file


@pytest.fixture
def declare():
    """Build the `File` that declares some bytes, as a table row would."""

    def build(payload: bytes, name: str = "tale.txt", served: bytes | None = None, **changes) -> File:
        served = payload if served is None else served
        url = changes.pop("url", f"https://example.invalid/{name}")
        most = changes.pop("most", len(served))
        download = Download(url, hashlib.sha256(served).hexdigest(), most)
        fields = {"size": len(payload), "sha256": hashlib.sha256(payload).hexdigest(), "download": download}
        return File(name, **{**fields, **changes})

    return build


@pytest.fixture
def add_corpus(monkeypatch):
    """Put a corpus of its own into the table for one test."""

    def add(name: str, *files: File, split: tuple[int, int, int] | None = None) -> Corpus:
        corpus = Corpus(name, "a test", "here", "none", files, split)
        monkeypatch.setitem(CORPORA, name, corpus)
        return corpus

    return add


@pytest.fixture
def leftovers():
    """The files under a folder that are neither locks nor expected."""

    def under(folder: Path) -> list[str]:
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")

    return under


@pytest.fixture
def full_disk(monkeypatch):
    """Every file opened for writing under a folder takes so many bytes, and then the disk is full."""

    def fill(folder: Path, after: int) -> None:
        opened = Path.open

        def limited(self, mode="r", *args, **kwargs):
            file = opened(self, mode, *args, **kwargs)
            if folder in self.parents and any(letter in mode for letter in "wxa") and self.suffix != ".lock":
                return FullDisk(file, after)
            return file

        monkeypatch.setattr(Path, "open", limited)

    return fill


class FullDisk:
    def __init__(self, file, room: int):
        self._file, self._room = file, room

    def write(self, data) -> int:
        if len(data) > self._room:
            self._file.write(data[: self._room])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= len(data)
        return self._file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)
