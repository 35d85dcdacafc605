"""docs/huggingface.md keeps its word: its commands and all of its Python run, in the order of the page."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from inn.cli import main

PAGE = (Path(__file__).parents[2] / "docs/huggingface.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_the_page_runs_from_top_to_bottom(run, tmp_path, monkeypatch, capsys):
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "runs/demo")
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 8
    names: dict = {}
    for language, code in blocks:
        if language == "python":
            exec(compile(code, "docs/huggingface.md", "exec"), names)
        else:
            for line in code.splitlines():
                program, *argv = shlex.split(line)
                assert program in ("inn", "pip")
                if program == "inn":
                    assert main(argv) == 0
    assert capsys.readouterr().out.count("def ") > 3
