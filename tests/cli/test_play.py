"""`inn play`: the server of a run's page, until it is interrupted, and its refusals."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from urllib.request import urlopen

import pytest

pytestmark = pytest.mark.loopback


def test_the_command_serves_until_it_is_interrupted(own_run):
    command = [
        sys.executable,
        "-c",
        "import sys; from inn.cli.main import main; sys.exit(main())",
        "play",
        str(own_run),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = next(line.strip() for line in process.stdout if "http://" in line)
        assert re.fullmatch(r"http://127.0.0.1:\d+/[\w-]{32,}/", url)
        with urlopen(url, timeout=20) as page:
            assert page.status == 200
            assert b"connect-src 'self'" in page.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--host", "0.0.0.0"], "host must be one of 127.0.0.1"),
        (["--port", "-1"], "port -1 cannot be listened on"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_what_cannot_be_served(own_run, refused, options, sentence):
    assert sentence in refused("play", own_run, *options)


def test_what_is_no_run(tmp_path, refused):
    assert "is not a run" in refused("play", tmp_path / "none")


def test_a_run_without_neurons(tmp_path, inn, refused, corpus):
    run = tmp_path / "lstm"
    brief = ["--model.width", "8", "--data.batch", "2", "--data.window", "16", "--train.symbols", "64"]
    inn("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", "--model.kind", "lstm", *brief)
    assert "of kind 'lstm', which has no neurons to silence" in refused("play", run)
