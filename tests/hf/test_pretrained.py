"""docs/pretrained.md from its top to its end, as it stands: the harness, too, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import inn.hf.lm_eval
from inn.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
PAGE = ROOT / "docs/pretrained.md"
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
HARNESS = [shlex.split(line) for _, code in BLOCKS for line in code.splitlines() if line.startswith("lm_eval ")]


def test_every_command_of_the_harness_is_one_that_is_run():
    """None stands in a block that is only read, or on a page that this file does not run."""
    said = sum(len(re.findall(r"^lm_eval ", page.read_text("utf-8"), re.MULTILINE)) for page in PAGES)
    assert said == len(HARNESS) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    harness, asked = importlib.util.find_spec("lm_eval") is not None, []
    for language, code in BLOCKS:
        if language == "python":
            exec(compile(code, PAGE.name, "exec"), names)
            continue
        for line in code.splitlines():
            program, *argv = shlex.split(line)
            if program == "inn":
                assert main(argv) == 0, line
            elif harness:
                assert program == "lm_eval"
                asked.append(argv)
    if not harness:
        pytest.skip("lm_eval is not installed; pip install lm_eval")
    run_harness(asked)
    found = {}
    for file in tmp_path.glob("out/**/results*.json"):
        found |= json.loads(file.read_text())["results"]
    answers = found["inn_answers_sampled"]
    assert {"exact_match,none", "majority,none", "best_of_k,none"} <= answers.keys()
    theirs = found["inn_corpus"]["bits_per_byte,none"]
    capsys.readouterr()
    assert main(["eval", "runs/tokens", "--split", "test", "--window", "64", "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert ours["bpb"] == pytest.approx(theirs, abs=1e-6)


def run_harness(asked: list[list[str]]) -> None:
    """As a person would, by whom nothing of inn was imported; what Hugging Face caches stays in the folder."""
    for argv in asked:
        argv[argv.index("--include_path") + 1] = inn.hf.lm_eval.__path__[0]  # what the page asks Python for
        argv.extend(("--output_path", "out"))
    code = """
import json, sys
from lm_eval.__main__ import cli_evaluate
assert "inn" not in sys.modules
for argv in json.loads(sys.argv[1]):  # in one process: it takes ten seconds to start
    sys.argv[1:] = argv
    cli_evaluate()
"""
    home = {"HF_HOME": str(Path("hf").resolve()), "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, json.dumps(asked)]
    done = subprocess.run(command, env={**os.environ, **home}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
