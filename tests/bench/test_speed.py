"""`benchmarks/speed.py`: results are kept, and the README's table is made of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROW = {
    "ratio": 24.06, "limit": 20.0, "better": "at least", "reached": True, "what": "the scan", "unit": "x",
    "sizes": "B 1", "dtype": "float32", "threads": 2, "skipped": None, "error": None, "details": {}, "seconds": 1.0,
    "machine": {"cpu": "a cpu", "cores": 2, "threads": 2}, "torch": "2.13.0", "commit": "abc",
}  # fmt: skip
ON_GPU = {
    **ROW, "unit": "characters/s", "ratio": 150_000.4, "limit": 200_000.0, "reached": False, "what": "the paper",
    "machine": {**ROW["machine"], "gpu": "a gpu"},
}  # fmt: skip
SKIPPED = {**ON_GPU, "ratio": None, "reached": None, "sizes": None, "machine": None, "skipped": "no GPU"}


@pytest.fixture
def speed(tmp_path, monkeypatch):
    """The script, with a repository of the test's."""
    path = Path(__file__).parents[2] / "benchmarks" / "speed.py"
    spec = importlib.util.spec_from_file_location("speed", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    module.ROOT, module.RESULTS = tmp_path, tmp_path / "results" / "speed.json"
    module.PROFILES = tmp_path / "results" / "profile.json"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "speed.md").write_text(
        "before\n<!-- table: speed -->\nold\n<!-- end -->\nafter <!-- end -->\n"
    )
    return module


def run(speed, monkeypatch, *argv: object) -> int:
    monkeypatch.setattr("sys.argv", ["speed.py", *map(str, argv)])
    return speed.main()


def test_results_are_kept_and_shown(speed, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(speed, "study", lambda only, threads: {"scan": ROW})
    assert run(speed, monkeypatch, "--page") == 0
    result = json.loads(speed.RESULTS.read_text())
    assert result["processors"]["a cpu"]["rows"] == {"scan": ROW}
    assert {"versions", "peers"} < set(result["processors"]["a cpu"])
    shown = speed.table(result)
    assert "| `scan` | the scan; B 1; float32, 2 threads | ≥ 20.0× | 24.1× reached |" in shown
    assert shown.endswith("Measured on a cpu, 2 cores, torch 2.13.0, commit abc.")
    assert capsys.readouterr().out == shown + "\n"
    assert (tmp_path / "docs" / "speed.md").read_text() == (
        f"before\n<!-- table: speed -->\n{shown}\n<!-- end -->\nafter <!-- end -->\n"
    )


def test_rows_come_together(speed, monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "study", lambda only, threads: {"gpu-paper": SKIPPED, "scan": ROW})
    run(speed, monkeypatch)
    assert "| ≥ 200,000/s | – skipped |" in speed.table(json.loads(speed.RESULTS.read_text()))
    (tmp_path / "gpu.json").write_text(json.dumps({"gpu-paper": ON_GPU}))
    run(speed, monkeypatch, "--add", tmp_path / "gpu.json")
    run(speed, monkeypatch)  # what cannot be measured here is left as it was
    result = json.loads(speed.RESULTS.read_text())
    rows = {place: of["rows"] for place, of in result["processors"].items()}
    assert rows == {"a cpu": {"scan": ROW}, "a gpu": {"gpu-paper": ON_GPU}}
    shown = speed.table(result)
    assert "| ≥ 200,000/s |  | 150,000/s not reached |" in shown
    assert "Measured on a gpu, a cpu, 2 cores, torch 2.13.0, commit abc." in shown


def test_another_processor_gets_a_column_of_its_own(speed, monkeypatch):
    other = {**ROW, "ratio": 12.0, "reached": False, "machine": {**ROW["machine"], "cpu": "another"}}
    for row, more in ((ROW, ()), (other, ("--note", "loaded"))):
        monkeypatch.setattr(speed, "study", lambda only, threads, row=row: {"scan": row})
        run(speed, monkeypatch, *more)
    shown = speed.table(json.loads(speed.RESULTS.read_text()))
    assert "| id | what is measured | limit | a cpu | another |" in shown
    assert "| ≥ 20.0× | 24.1× reached | 12.0× not reached |" in shown
    assert "Measured on another, 2 cores, torch 2.13.0, commit abc (loaded)." in shown


def test_a_broken_row_is_told(speed, monkeypatch):
    broken = {**ROW, "ratio": None, "reached": None, "machine": None, "sizes": None, "error": "MemoryError"}
    monkeypatch.setattr(speed, "study", lambda only, threads: {"scan": broken})
    assert run(speed, monkeypatch) == 1
    assert "broke" in speed.table(json.loads(speed.RESULTS.read_text()))
