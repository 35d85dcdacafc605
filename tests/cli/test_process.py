"""The command as a process: exit codes, pipes, signals, start-up."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

INN = [sys.executable, "-m", "inn"]


def run(*argv: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*INN, *map(str, argv)], capture_output=True, text=True, timeout=120, **options)


def test_a_mistake_is_one_line_and_exit_code_2():
    done = run("train", "txt8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "inn: unknown recipe 'txt8'; did you mean 'text8'?\n"


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["data", "list"], ["train", "--help"], ["eval", "--help"]])
def test_what_needs_no_model_does_not_wait_for_torch(argv):
    code = f"import sys; from inn.cli.main import main; main({argv!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_output_is_a_sentence():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*INN, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "inn: writing: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="no sh")
@pytest.mark.parametrize("closed, argv, code", [(1, "--version", 0), (2, "nothing", 2)])
def test_nothing_is_said_where_a_stream_is_closed(closed, argv, code):
    line = f"{shlex.join(INN)} {argv} {closed}>&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_reader_that_has_enough_ends_generation_quietly(trained):
    process = subprocess.Popen(
        [*INN, "generate", str(trained), "--tokens", "null"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert len(process.stdout.read(40)) == 40
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_ctrl_c_ends_generation_cleanly(trained):
    process = subprocess.Popen(
        [*INN, "generate", str(trained), "--tokens", "null"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # also where the tests run as a background job, whose children ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    process.stdout.read(40)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().strip() == "inn: interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_training_with_a_checkpoint(small, corpus, tmp_path, number):
    path = tmp_path / "run"
    options = ["--run", str(path), "--data.corpus", f"file:{corpus}", *small, "--train.symbols", "100000000"]
    process = subprocess.Popen(
        [*INN, "train", "demo", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 100
    while not (path / "metrics.jsonl").exists() or not (path / "metrics.jsonl").read_text():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    assert f"inn train --resume {path}" in out
    summary = json.loads((path / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert any(path.glob(f"checkpoints/step-{summary['step']:08d}"))


def test_generation_streams(trained):
    """Text arrives while it is written, not at the end."""
    read, write = os.pipe()
    process = subprocess.Popen([*INN, "generate", str(trained), "--tokens", "null"], stdout=write)
    os.close(write)
    try:
        assert os.read(read, 1)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        os.close(read)
