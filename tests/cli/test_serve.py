"""`inn serve`: a server that says how to ask it, until it is interrupted, and its refusals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest

pytestmark = pytest.mark.loopback


def test_the_command_serves_until_it_is_interrupted(own_run, inn):
    pytest.importorskip("inn.server.serving", reason="what [serve] brings is not installed", exc_type=ImportError)
    command = [sys.executable, "-c", "import sys; from inn.cli.main import main; sys.exit(main())"]
    options = ["serve", str(own_run), "--port", "0", "--name", "mine"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = [line.rstrip("\n") for line in iter(process.stdout.readline, "Stop with Ctrl-C.\n")]
        assert all(len(line) <= 80 for line in said[1:])
        url = next(line.strip() for line in said if "http://" in line)
        body = json.dumps({"model": "mine", "prompt": "the ", "max_tokens": 20, "seed": 1}).encode()
        try:
            asked = Request(f"{url}/completions", body, {"Content-Type": "application/json"})
            with urlopen(asked, timeout=60) as answer:
                text = json.load(answer)["choices"][0]["text"]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    alone = inn("generate", own_run, "--prompt", "the ", "--tokens", "20", "--seed", "1", "--json")
    assert text == json.loads(alone.out)["text"]


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--host", "0.0.0.0"], "is open to other machines, so a token is needed"),
        (["--token", "short"], "at least 16"),
        (["--port", "-1"], "port must be from 0"),
        (["--streams", "0"], "streams must be at least 1"),
        (["--tables", "mine"], "tables must be one of"),
        (["--threads", "-1"], "threads must be from 0"),
        (["--device", "abacus"], "abacus"),
        (["--host", "8.8.8.8", "--token", "a" * 16], "8.8.8.8 port 8000 cannot be listened on"),
    ],
)
def test_what_cannot_be_served(own_run, refused, options, sentence):
    assert sentence in refused("serve", own_run, *options)
