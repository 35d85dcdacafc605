"""Every study from end to end, through the command, at the smallest scale and where no data are at hand."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from inn.cli.main import main
from inn_studies import STUDIES, open_study, results

WITHOUT_FIGURE = ("samples", "ngc-parts", "ngc-heal", "ngc-stories", "ngc-cost", "ngc-encoders", "ngc-bytes")


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_and_is_shown(name, studied, monkeypatch, capsys):
    if name == "ptb-sweep":
        pytest.importorskip("optuna")
    monkeypatch.chdir(studied)
    monkeypatch.delenv("INN_DATA", raising=False)
    assert main(["study", name, "--scale", "smoke", "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    study, folder = open_study(name), studied / "runs" / "studies" / "smoke"
    entry = json.loads((folder / f"{name}.json").read_text())["smoke"]
    table, verdicts = results.tell(study, entry)
    assert study.question in shown
    assert table in shown
    assert all(f"**{v.outcome}** | {v.because}" in shown for v in verdicts)
    assert (folder / f"{name}.png").exists() == (bool(find_spec("matplotlib")) and name not in WITHOUT_FIGURE)


@pytest.mark.slow
def test_what_is_there_is_not_trained_again(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    monkeypatch.delenv("INN_DATA", raising=False)
    for _ in range(2):
        assert main(["study", "text8", "--scale", "smoke", "--workers", "1"]) == 0
        said = capsys.readouterr().err
    assert "trained" not in said
    assert "measured" not in said


@pytest.mark.parametrize("name", STUDIES)
def test_every_scale_is_written_down(name):
    sizes = open_study(name).sizes()
    assert list(sizes) == ["smoke", "cpu", "gpu"]
    assert "data.corpus" in sizes["smoke"].settings  # text that comes with the package
