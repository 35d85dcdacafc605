"""Runs that are killed, and go on as if nothing had been."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.training import events
from inn.training.trainer import fit

SCRIPT = Path(__file__).with_name("tiny_run.py")


class Sittings:
    """Runs in processes of their own, one after another; see `tiny_run.py`."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self, settings: Path, run: Path, die_at: int = 0) -> int:
        """Start or go on with a run; return the process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{settings} {run} {die_at}\n")
        self.process.stdin.flush()
        return int(self.wait_for("pid"))

    def wait_for(self, word: str, value: str | None = None) -> str:
        """Read lines up to one that starts with `word` (and says `value`); return what it says."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            first, _, rest = line.strip().partition(" ")
            if first == word and value in (None, rest):
                return rest
            assert first != "exit", f"ended before '{word}'"
        raise AssertionError(f"ended before '{word}'")


@pytest.fixture(scope="module")
def sittings():
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    one = Sittings()
    yield one
    os.killpg(one.process.pid, signal.SIGKILL)  # with the fork that a failed test has left
    one.process.communicate()


def weights(run: Path) -> bytes:
    folder = run / "checkpoints"
    return (folder / checkpoints.name_of(checkpoints.steps(folder)[-1]) / "model.safetensors").read_bytes()


def lines(run: Path) -> list[dict]:
    clocks = ("time", "symbols_per_s")
    return [
        {k: v for k, v in line.items() if k not in clocks}
        for line in Run(run).metrics()
        if "no checkpoint had been written" not in line.get("message", "")
    ]


@pytest.mark.slow
def test_killed_at_random_moments_and_in_the_middle_of_writing(tmp_path, tiny, config_file, sittings):
    fit(tiny("inn"), tmp_path / "whole")
    seed = random.randrange(10**6)
    print("seed", seed)  # shown when the test fails
    draw = random.Random(seed)
    run, kills = tmp_path / "run", 0
    for sitting in range(60):
        # By turns in the middle of a file (a checkpoint is five; at least one is whole before) and at any moment.
        writing = sitting % 2 == 1 or sitting > 12
        pid = sittings.start(config_file, run, draw.randrange(6, 30) if writing else 0)
        if not writing:
            sittings.wait_for("Started")
            time.sleep(draw.uniform(0, 0.04))
            with contextlib.suppress(ProcessLookupError):  # it had come to its end
                os.kill(pid, signal.SIGKILL)
        code = int(sittings.wait_for("exit"))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    else:
        pytest.fail("the run never came to its end")
    assert kills >= 3
    assert weights(run) == weights(tmp_path / "whole")
    assert lines(run) == lines(tmp_path / "whole")
    assert Run(run).summary()["status"] == "finished"  # type: ignore[index]
    assert not [p for p in (run / "checkpoints").iterdir() if p.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(tmp_path, config_file, sittings, number):
    settings = tmp_path / "long.yaml"
    settings.write_text(config_file.read_text().replace("symbols: 1920", "symbols: 1920000"))
    pid = sittings.start(settings, tmp_path / "run")
    sittings.wait_for("Progress", "5")
    os.kill(pid, number)
    assert sittings.wait_for("status") == "stopped"
    assert sittings.wait_for("exit") == "0"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert summary["step"] == checkpoints.steps(tmp_path / "run" / "checkpoints")[-1] >= 5
    assert Run(tmp_path / "run").metrics()[-1]["step"] == summary["step"]


def test_a_second_ctrl_c_does_not_wait(tmp_path, tiny):
    def twice(event: events.Event) -> None:
        if isinstance(event, events.Progress) and event.step == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny("lstm"), tmp_path / "run", report=twice)
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoints.steps(tmp_path / "run" / "checkpoints") == [2, 4]


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path, tiny, whole):
    class Killed(BaseException):
        pass

    def kill(event: events.Event) -> None:
        if event.step == 1:
            raise Killed

    with pytest.raises(Killed):
        fit(tiny("lstm"), tmp_path / "run", report=kill)
    told: list[events.Event] = []
    fit(None, tmp_path / "run", resume=True, report=told.append)
    assert any(isinstance(e, events.Warned) and "begins again" in e.message for e in told)
    assert weights(tmp_path / "run") == weights(whole)
    assert lines(tmp_path / "run") == lines(whole)
