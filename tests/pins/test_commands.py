"""The command line: every option that was, and the sentences for typical mistakes, word for word."""

from __future__ import annotations

import subprocess
import sys

import pinned
import pytest
from pinned import COMMANDS, read, run_cli

MISTAKES = read("mistakes")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_still_there(command, desk):
    """But for those of models, whose flat names `test_settings.py` gives to `inn info`."""
    assert set(read("options")[command]) - set(pinned.options(command)) == set()


@pytest.mark.parametrize("case", MISTAKES, ids=[" ".join(case["argv"]) for case in MISTAKES])
def test_mistakes(case, desk):
    before = sorted(desk.rglob("*"))
    result = run_cli(*case["argv"])
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("inn: ")
    sentence = result.err.removeprefix("inn: ").removesuffix("\n")
    assert sentence == case["sentence"] or (case.get("begins") and sentence.startswith(f"{case['sentence']}: "))
    assert sorted(desk.rglob("*")) == before


def test_the_module_is_the_command():
    argv = [sys.executable, "-m", "inn", "train", "txt8"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "inn: unknown recipe 'txt8'; did you mean 'text8'?\n"
