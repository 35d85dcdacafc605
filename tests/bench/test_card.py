"""`benchmarks/gpu.sh`: parts with limits, kept one by one; and checks that notice what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from inn.ops import neuron_linear
from inn.ops.dispatch import Backend
from inn.system.cache import cache_dir
from inn_benchmarks import card, checks
from inn_benchmarks.rows import ROWS
from inn_benchmarks.run import Broken, call, finished

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"


def part(status="passed", limit=60.0, calls=None, error=None):
    def run(seconds, dry):
        if calls is not None:
            calls.append(seconds)
        if error:
            raise error
        return {"status": status, "found": {"cases": 3, "worst": {"triton": 0.5}, "wrong": [], "failures": 0}}

    return card.Part(limit, run)


def test_what_is_done_is_kept_and_the_rest_is_run_again(tmp_path):
    calls = []
    parts = {
        "good": part(calls=calls),
        "bad": part("failed", calls=calls),
        "slow": part(calls=calls, error=Broken(["it took longer than 5 s and was ended"], None)),
    }
    first = card.run_parts(tmp_path, True, parts=parts)
    assert {name: p["status"] for name, p in first["parts"].items()} == {
        "good": "passed",
        "bad": "failed",
        "slow": "broke",
    }
    assert json.loads((tmp_path / "dry.json").read_text()) == json.loads(json.dumps(first))
    parts["slow"] = part("incomplete", calls=calls)
    again = card.run_parts(tmp_path, True, parts=parts)
    assert len(calls) == 4
    assert again["parts"]["slow"]["status"] == "incomplete"
    changed = json.loads((tmp_path / "dry.json").read_text()) | {"commit": "another"}
    (tmp_path / "dry.json").write_text(json.dumps(changed))
    card.run_parts(tmp_path, True, parts=parts)
    assert len(calls) == 7
    (tmp_path / "dry.json").write_text("{")
    assert card.run_parts(tmp_path, True, parts={"good": part()})["parts"]["good"]["status"] == "passed"


def test_no_part_goes_beyond_the_time_for_all(tmp_path):
    calls = []
    card.run_parts(tmp_path, True, 0.5, {"long": part(limit=90, calls=calls)})
    assert 0 < calls[0] <= 30
    late = card.run_parts(tmp_path / "late", True, 0.1, {"long": part(calls=calls)})
    assert late["parts"]["long"]["status"] == "no time"
    assert len(calls) == 1
    assert sum(p.limit for name, p in card.PARTS.items() if name.startswith("check")) < 60 * card.MINUTES


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    alive = tmp_path / "alive"
    child = f"import time; time.sleep(1.5); open({str(alive)!r}, 'w')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert finished([sys.executable, "-c", code], dict(os.environ), 0.5)[0] is None
    with pytest.raises(Broken, match="longer than 0 s and was ended"):
        call("time:sleep", {}, threads=1, seconds=0.1)
    time.sleep(1.5)
    assert not alive.exists()


def test_every_gpu_row_is_a_part_with_a_tiny_size():
    rows = {name for name in ROWS if name.startswith("gpu-")}
    assert rows == set(card.TINY) <= set(card.PARTS)


@pytest.mark.parametrize("name", ["gpu-loop", "gpu-step", "gpu-generate", "gpu-memory"])
def test_a_row_at_a_tiny_size(name):
    measured = card.tiny(name)
    assert measured.ratio > 0
    assert "N 2" in measured.sizes or "D 16" in measured.sizes or name == "gpu-loop"


def test_without_a_card_it_is_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert card.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("no CUDA card was found")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_page_has_a_table_for_each_card_and_none_of_a_dry_run(tmp_path):
    text = "a\n<!-- table: gpu -->\nold\n<!-- end -->\nb"
    result = card.run_parts(tmp_path, True, parts={"check scan": part(), "gpu-memory": part("skipped")})
    assert card.with_tables(text, tmp_path) == f"a\n<!-- table: gpu -->\n{card.NOT_MEASURED}\n<!-- end -->\nb"
    result |= {"dry": False, "hardware": {**result["hardware"], "gpu": "Card 9000"}}
    (tmp_path / "card-9000.json").write_text(json.dumps(result))
    shown = card.with_tables(text, tmp_path)
    assert "| check scan | passed | 3 cases, largest error 0.5 of the tolerance (triton) |" in shown
    assert "Measured on Card 9000" in shown
    assert card.file_of(tmp_path, result).name == "card-9000.json"


@pytest.fixture
def off_by_a_little(monkeypatch):
    """PyTorch's maps, a hundredth too large."""
    right = neuron_linear.backends["torch"].run
    wrong = Backend("torch", lambda *a, **k: tuple(1.01 * y for y in right(*a, **k)))
    monkeypatch.setitem(neuron_linear.backends, "torch", wrong)


def test_a_right_op_passes():
    found = checks.check_op("norm", "cpu", "small")
    assert found["complete"]
    assert found["failures"] == 0 < found["cases"]
    assert max(found["worst"].values()) < 1


@pytest.mark.usefixtures("off_by_a_little")
def test_a_wrong_op_is_noticed():
    found = checks.check_op("linear", "cpu", "small")
    assert found["failures"] > 0
    assert all("torch" in line or "chosen" in line for line in found["wrong"])


def test_steps_recall_and_models_are_compared():
    for found in (checks.check_step("cpu"), checks.check_recall("cpu"), checks.check_models("cpu", ("inn",))):
        assert found["complete"]
        assert found["failures"] == 0 < found["cases"]


def test_a_check_that_runs_out_of_time_says_so():
    found = checks.check_op("scan", "cpu", "small", seconds=0)
    assert not found["complete"]


@pytest.mark.slow
def test_it_needs_few_packages():
    code = """
import sys
for name in "jsonargparse docstring_parser pooch rich scipy networkx safetensors pytest hypothesis".split():
    sys.modules[name] = None  # an import of it fails
from inn_benchmarks import card, checks
assert checks.check_models("cpu", ("inn",))["failures"] == 0
assert all(card.tiny(row).ratio > 0 for row in ("gpu-step", "gpu-paper", "gpu-generate"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


IN_ONE_PROCESS = """
import json, sys
from inn_benchmarks import card, run
from inn_benchmarks.__main__ import outcome

def call(target, arguments, **_):
    return json.loads(json.dumps(outcome(target, dict(arguments))))

card.call = run.call = call
del card.PARTS["tests"]
sys.exit(card.main([sys.argv[1], "--dry"]))
"""
"""Every part but the tests, where starting a process for each would take most of the time."""
BY_ITSELF = ("check norm", "gpu-loop", "tests")
"""One part of each sort, which the script runs as it does on a machine with a card."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_script_dry(tmp_path):
    """All parts are right; the script finds what is done, runs what is missing and says all of it."""
    pytest.importorskip("triton")
    environment = {**os.environ, "PYTHON": sys.executable, "INN_CACHE": str(cache_dir())}  # kernels compiled already
    command = [sys.executable, "-c", IN_ONE_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "dry.json").read_text())
    kept = {name: part for name, part in result["parts"].items() if name not in BY_ITSELF}
    (tmp_path / "dry.json").write_text(json.dumps({**result, "parts": kept}))
    command = ["bash", str(SCRIPT), "--dry", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count(" before\n") == len(kept) == len(card.PARTS) - len(BY_ITSELF)
    result = json.loads((tmp_path / "dry.json").read_text())
    assert list(result["parts"]) == list(card.PARTS)
    assert {part["status"] for part in result["parts"].values()} <= {"passed", "measured"}
    worst = result["parts"]["check scan"]["found"]["worst"]
    assert {"triton, float32", "triton, bfloat16", "torch, float16"} <= set(worst)
    assert result["versions"]["triton"]
