"""docs/pretrained.md from its top to its end, as it stands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from inn.cli.main import main

PAGE = Path(__file__).parents[2] / "docs/pretrained.md"
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    harness = None
    for language, code in BLOCKS:
        if language == "python":
            exec(compile(code, PAGE.name, "exec"), names)
            continue
        for line in code.splitlines():
            program, *argv = shlex.split(line)
            if program == "inn":
                assert main(argv) == 0, line
            else:
                assert program == "lm_eval"
                harness = argv
    pytest.importorskip("lm_eval", reason="lm_eval is not installed; pip install lm_eval")
    assert harness is not None
    from lm_eval._cli.harness import HarnessCLI

    import inn.hf.lm_eval

    harness[harness.index("--include_path") + 1] = inn.hf.lm_eval.__path__[0]  # what the page asks Python for
    options = harness.index("--model_args") + 1  # the code would be copied into the user's cache, and is here
    harness[options] = harness[options].replace("trust_remote_code=True,", "")
    cli = HarnessCLI()
    cli.execute(cli._parser.parse_args([*harness, "--output_path", "out"]))
    (found,) = tmp_path.glob("out/**/results*.json")
    theirs = json.loads(found.read_text())["results"]["inn_corpus"]["bits_per_byte,none"]
    capsys.readouterr()
    assert main(["eval", "runs/tokens", "--split", "test", "--window", "64", "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert f"prefix_token_id={ours['start_symbol']} " in PAGE.read_text("utf-8")
    assert ours["bpb"] == pytest.approx(theirs, abs=1e-6)
