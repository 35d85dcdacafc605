"""`inn bench` on the command line; what the rows come to is set by the tests."""

from __future__ import annotations

import json
import sys

import pytest

from inn_benchmarks import run
from inn_benchmarks.rows import ROWS
from inn_benchmarks.run import Broken

MACHINE = {"cpu": "a cpu", "cores": 2, "threads": 1}
COME_TO = {"scan": 24.0, "paper-step": 0.3, "reference-step": 3.0, "gpu-paper": "no CUDA device was found"}


@pytest.fixture(autouse=True)
def outcomes(monkeypatch):
    """Rows by what they come to: a ratio, the reason why they are skipped, or an exception."""
    table = dict(COME_TO)

    def call(target, arguments=None, *, threads, interpreter=sys.executable, seconds=None):
        come = table[target]
        if isinstance(come, Exception):
            raise come
        if isinstance(come, str):
            return {"skipped": come}
        return {
            "ratio": come, "dtype": "float32", "sizes": "B 1, T 2", "details": {"plot": None}, "threads": threads,
            "machine": MACHINE,
        }  # fmt: skip

    monkeypatch.setattr(run, "call", call)
    monkeypatch.setenv("COLUMNS", "200")
    return table


ALL = ("bench", "--only", ",".join(COME_TO), "--threads", "1")


def test_json_is_one_object_by_id(inn):
    result = inn(*ALL, "--json")
    assert result.code == 0
    assert result.err == ""
    rows = json.loads(result.out)
    assert list(rows) == list(COME_TO)
    assert {name: row["reached"] for name, row in rows.items()} == {
        "scan": True,
        "paper-step": False,
        "reference-step": None,
        "gpu-paper": None,
    }
    for row in rows.values():
        assert {"ratio", "limit", "better", "reached", "unit", "what", "threads", "dtype", "details"} < set(row)
        assert {"machine", "torch", "commit", "skipped", "error", "seconds", "sizes"} < set(row)
    assert rows["gpu-paper"]["skipped"] == "no CUDA device was found"


def test_the_table(inn):
    result = inn(*ALL)
    assert result.code == 0  # a limit that is not reached is no failure
    lines = {line.split()[0]: line for line in result.out.splitlines() if line.strip()}
    assert "24.0×" in lines["scan"]
    assert "≥ 20.0×" in lines["scan"]
    assert "not reached" in lines["paper-step"]
    assert "report" in lines["reference-step"]
    assert "float32, 1 thread" in result.out
    assert "Limits not reached: paper-step." in result.out
    assert "gpu-paper is skipped: no CUDA device was found." in result.out
    assert "a cpu, 2 cores, torch" in result.out


def test_a_row_that_broke(inn, outcomes):
    outcomes["scan"] = Broken(["ValueError: no"], 1)
    result = inn(*ALL)
    assert result.code == 1
    assert "scan broke: ValueError: no" in result.out
    assert "Limits not reached: paper-step." in result.out
    result = inn(*ALL, "--json")
    assert result.code == 1
    assert json.loads(result.out)["scan"]["error"] == "ValueError: no"


def test_only_names_rows(inn, refused):
    assert list(json.loads(inn("bench", "--only", "paper-step, scan,scan", "--json").out)) == ["paper-step", "scan"]
    assert refused("bench", "--only", "sccan") == "unknown benchmark row 'sccan'; did you mean 'scan'?"
    assert "--only names no row; known: scan" in refused("bench", "--only", ",")
    assert "unexpected argument" in refused("bench", "scan")


def test_threads(inn, refused):
    assert refused("bench", "--threads", "0") == "--threads must be at least 1, not 0"
    assert "a whole number" in refused("bench", "--threads", "two")
    assert json.loads(inn("bench", "--only", "scan", "--threads", "3", "--json").out)["scan"]["threads"] == 3
    assert json.loads(inn("bench", "--only", "scan", "--json").out)["scan"]["threads"] >= 1


def test_all_rows_are_run_when_none_is_named(inn, outcomes, monkeypatch):
    from inn_benchmarks import environment

    monkeypatch.setattr(environment, "python", lambda: sys.executable)
    outcomes.update(dict.fromkeys(ROWS, 1.0))
    assert list(json.loads(inn("bench", "--json").out)) == list(ROWS)
