"""Studies from end to end, through the command, where no data are at hand."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from inn.cli import main
from inn.studies import open_study, results


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ablation", "ptb", "ptb-characters", "ptb-sweep", "vocabulary", "cost"])
def test_a_study_runs_and_is_shown(name, tmp_path, monkeypatch, capsys):
    if name == "ptb-sweep":
        pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INN_DATA", raising=False)
    assert main(["study", name, "--scale", "smoke", "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    study, folder = open_study(name), tmp_path / "runs" / "studies" / "smoke"
    entry = json.loads((folder / f"{name}.json").read_text())["smoke"]
    table, verdicts = results.tell(study, entry)
    assert table in shown
    assert all(f"**{v.outcome}** | {v.because}" in shown for v in verdicts)
    assert (folder / f"{name}.png").exists() == bool(find_spec("matplotlib"))
