"""Building the C++ kernels: once, whole or not at all, and never in anybody's way.

Only the first test compiles (if these sources were never compiled on this machine); the others put a script in the
compiler's place that hands out what is already built.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inn.ops.cpu import build

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no C++ kernels on Windows")

SCAN = """
import warnings, torch
from inn.ops import selective_scan
one = torch.ones(1, 1, 1, 1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        y, last = selective_scan(one, one, -one[0], one, one, one[0, 0], one, one)
backend, reasons = selective_scan.choose(one, one, -one[0], one, one, one[0, 0], one, one)
print(backend.name, len(caught), [str(w.message) for w in caught], reasons)
assert abs(y.item() - 1.8877) < 1e-3, y
"""


def start(code, **environment):
    """A process of its own, with these environment variables (None: not set)."""
    env = {**os.environ, **environment}
    env = {k: str(v) for k, v in env.items() if v is not None}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=pipe, stderr=pipe, text=True)


def finish(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out.strip()


def program(path: Path, text: str) -> Path:
    """A shell script to run in the compiler's place."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def fake_compiler(tmp_path):
    """Stands in for the compiler: takes half a second, then "links" the library that is there; and counts."""
    real, log = build.library(), tmp_path / "log"
    log.touch()
    text = f"""
case "$*" in
  *-fsyntax-only*) exit 0 ;;
  *-shared*) sleep 0.5; echo link >> {log} ;;
esac
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
cp {real} "$out"
"""
    return program(tmp_path / "cxx", text), log


def libraries(cache: Path) -> list[Path]:
    return sorted(p for p in (cache / "kernels").rglob("*") if p.is_file() and p.name != "lock")


def test_the_library_is_built_where_the_cache_is():
    path = build.library()
    assert path.is_file()
    assert path.parent.name == build.key()


@pytest.mark.slow
def test_two_processes_at_once_build_once(tmp_path, fake_compiler):
    script, log = fake_compiler
    cache = tmp_path / "cache"
    both = [start(SCAN, INN_CACHE=cache, CXX=script) for _ in range(2)]
    assert [finish(p) for p in both] == 2 * ["cpu 0 [] {}"]
    assert log.read_text().split() == ["link"]
    assert len(libraries(cache)) == 1


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_in_the_way(tmp_path, fake_compiler):
    script, log = fake_compiler
    cache = tmp_path / "cache"
    slow = program(tmp_path / "slow", f'case "$*" in *-fsyntax*) exit 0 ;; esac\necho started >> {log}\nexec sleep 60')
    process = start(SCAN, INN_CACHE=cache, CXX=slow)
    deadline = time.monotonic() + 60
    while not log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert libraries(cache) == []
    log.write_text("")
    assert finish(start(SCAN, INN_CACHE=cache, CXX=script)) == "cpu 0 [] {}"
    assert len(libraries(cache)) == 1
    assert not list(cache.rglob("build-*"))


def test_without_a_compiler_one_warning_and_pytorch(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    said = finish(start(SCAN, INN_CACHE=tmp_path / "cache", CXX=None, PATH=empty))
    assert said.startswith("torch 1 ")
    assert "no C++ compiler found; install g++" in said


def test_a_broken_compiler_says_what_it_said(tmp_path):
    broken = program(tmp_path / "cxx", "echo 'cc1plus: fatal error: out of luck' >&2\nexit 1")
    said = finish(start(SCAN, INN_CACHE=tmp_path / "cache", CXX=broken))
    assert said.startswith("torch 1 ")
    assert "out of luck" in said
    assert libraries(tmp_path / "cache") == []


@pytest.mark.slow
def test_a_library_that_cannot_be_loaded_is_not_kept(tmp_path):
    text = """
case "$*" in *-fsyntax-only*) exit 1 ;; esac
while [ $# -gt 0 ]; do [ "$1" = -o ] && echo junk > "$2"; shift; done
"""
    empty = program(tmp_path / "cxx", text)
    said = finish(start(SCAN, INN_CACHE=tmp_path / "cache", CXX=empty))
    assert said.startswith("torch 1 ")
    assert libraries(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    said = finish(start(SCAN, INN_CACHE=tmp_path / "file" / "cache"))
    assert said.startswith("torch 1 ")
    assert "set INN_CACHE" in said


def test_the_key_changes_with_what_the_library_depends_on(monkeypatch, tmp_path):
    keys = {build.key()}
    with monkeypatch.context() as patch:
        patch.setattr("torch.__version__", "99.0")
        keys.add(build.key())
    with monkeypatch.context() as patch:
        patch.setattr(build, "_cpu", lambda: "another")
        keys.add(build.key())
    changed = shutil.copytree(build.SOURCES, tmp_path / "sources")
    with (changed / "scan.cpp").open("a") as file:
        file.write("\n")
    monkeypatch.setattr(build, "SOURCES", changed)
    keys.add(build.key())
    assert len(keys) == 4


def test_the_library_is_not_writable_by_others():
    """It is code that will be run: nobody but its owner may change it."""
    assert not build.library().stat().st_mode & stat.S_IWOTH
