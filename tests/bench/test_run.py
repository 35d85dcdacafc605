"""Rows in processes of their own, and what comes out of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import inn
import inn_benchmarks
from inn.system.errors import InputError
from inn_benchmarks import environment, run
from inn_benchmarks.run import Broken, call, run_rows

MACHINE = {"cpu": "a cpu", "cores": 2, "threads": 1}
OUTCOME = {"ratio": 21.0, "dtype": "float32", "sizes": "B 1", "details": {}, "threads": 1, "machine": MACHINE}


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, str]]:
    """Rows and the interpreters they were given; nothing is measured."""
    made = []

    def fake(target, arguments=None, *, threads, interpreter=sys.executable, seconds=None):
        made.append((target, interpreter))
        return dict(OUTCOME)

    monkeypatch.setattr(run, "call", fake)
    return made


def test_a_row_is_plain_data(calls):
    heard = []
    results = run_rows(["scan", "reference-step"], 1, lambda *said: heard.append(said))
    assert list(results) == ["scan", "reference-step"]
    row = results["scan"]
    assert (row["ratio"], row["limit"], row["better"], row["reached"]) == (21.0, 20.0, "at least", True)
    assert {"what", "unit", "sizes", "dtype", "threads", "details", "seconds", "machine", "torch", "commit"} < set(row)
    assert row["skipped"] is row["error"] is None
    assert results["reference-step"]["reached"] is None
    assert heard == [("scan", 1, 2), ("reference-step", 2, 2)]


def test_an_unknown_row_is_refused_before_anything_runs(calls):
    with pytest.raises(InputError, match="unknown benchmark row 'scann'; did you mean 'scan'"):
        run_rows(["growth", "scann"], 1)
    assert calls == []


def test_rows_without_their_peers(calls, monkeypatch):
    tried = []

    def python():
        tried.append(0)
        raise environment.Unavailable("there is no network")

    monkeypatch.setattr(environment, "python", python)
    results = run_rows(["peers-train", "peers-generate", "growth", "scan"], 1)
    assert results["peers-train"]["skipped"] == results["peers-generate"]["skipped"] == "there is no network"
    assert results["peers-train"]["ratio"] is results["peers-train"]["reached"] is None
    assert calls == [("growth", sys.executable), ("scan", sys.executable)]
    assert len(tried) == 1


def test_rows_with_peers_run_in_their_environment(calls, monkeypatch):
    monkeypatch.setattr(environment, "python", lambda: Path("/peers/python"))
    run_rows(["peers-train", "growth", "scan"], 1)
    assert calls == [("peers-train", "/peers/python"), ("growth", "/peers/python"), ("scan", sys.executable)]


def test_a_broken_row_stops_no_other(monkeypatch):
    def fake(target, arguments=None, *, threads, interpreter=sys.executable, seconds=None):
        if target == "scan":
            raise Broken(["Traceback", "MemoryError: no more"], 1)
        return dict(OUTCOME)

    monkeypatch.setattr(run, "call", fake)
    results = run_rows(["scan", "memory"], 1)
    assert results["scan"]["error"] == "MemoryError: no more"
    assert results["scan"]["details"]["said"] == ["Traceback", "MemoryError: no more"]
    assert results["scan"]["reached"] is None
    assert results["memory"]["ratio"] == 21.0
    assert results["memory"]["reached"] is False


def test_what_a_process_prints_is_not_its_outcome():
    assert call("builtins:print", {"end": "noise"}, threads=1) is None


def test_a_process_that_fails_is_quoted():
    with pytest.raises(Broken, match="TypeError"):
        call("builtins:len", {"x": 1}, threads=1)


def test_a_process_has_its_threads_and_this_library():
    environ = run.environ(3)
    assert (environ["OMP_NUM_THREADS"], environ["OMP_WAIT_POLICY"], environ["HF_HUB_OFFLINE"]) == ("3", "passive", "1")
    sources = [str(Path(module.__file__).resolve().parents[1]) for module in (inn, inn_benchmarks)]
    assert environ["PYTHONPATH"].split(os.pathsep)[:2] == sources


@pytest.mark.slow
def test_a_row_runs_in_a_process_with_its_threads():
    assert call("torch:get_num_threads", threads=2) == 2
    sizes = {"batch": 2, "length": 16, "model": {"width": 16, "layers": 1, "state": 4}}
    assert call("inn_benchmarks.memory:peak", sizes, threads=1)["bytes"] >= 0
