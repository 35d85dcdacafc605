"""Table 6: trials that several processes share, that are gone on with, and a table from a result made by hand."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from inn.training.trainer import fit
from inn_studies import lab as labs
from inn_studies.lab import Lab
from inn_studies.paper import TABLE_6
from inn_studies.ptb_sweep import PtbSweep, Search, SweepSize


def result(**changed: float | None) -> dict:
    ppl = {**TABLE_6, (0.25, 0.03): 200.0}
    trials = [
        {"number": n, "dropout": d, "weight_decay": w, "valid_ppl": changed.get(f"trial{n}", value)}
        for n, ((d, w), value) in enumerate(ppl.items())
    ]
    return {"lr": 0.003, "parameters": 1000, "symbols": 2000, "trials": trials}


def test_the_table_keeps_every_trial_best_first():
    lines = PtbSweep().table(result(trial1=None)).splitlines()
    assert lines[4] == "| 6 | 0.25 | 0.03 | 200.0 | – |"
    assert lines[5] == "| 3 | 0.3 | 0.1 | 207.2 | 207.2 |"
    assert lines[-1] == "| 1 | 0.1 | 0.0001 | diverged | 221.7 |"


def test_verdicts_are_of_the_best_point_and_the_gain():
    best, gain = PtbSweep().verdicts(result())
    assert (best.outcome, best.ours) == ("reproduced", "207.2 PPL")
    assert best.because.endswith("of all trials dropout 0.25, weight decay 0.03 at 200.0")
    assert (gain.paper, gain.ours, gain.outcome) == ("by 9.3% (Table 6)", "by 9.3%", "reproduced")
    best, gain = PtbSweep().verdicts(result(trial0=207.0, trial1=207.0))
    assert (best.outcome, gain.outcome) == ("not reproduced", "not reproduced")
    assert [v.outcome for v in PtbSweep().verdicts(result(trial0=None))] == ["not measured"]


def test_the_figure_tells_points_from_search():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert PtbSweep().draw(result(trial0=None), figure)
    assert [len(c.get_offsets()) for c in figure.axes[0].collections] == [5, 1]


@pytest.fixture
def size(job) -> SweepSize:
    pytest.importorskip("optuna")
    model = {"kind": "inn", "neurons": 2, "width": 4, "rounds": 1}
    settings = {name: value for name, value in job("a").settings.items() if not name.startswith("model.")}
    settings = {**settings, "train.symbols": 128, "train.eval_every": 2}
    return SweepSize("study-smoke", settings, searched=2, models={"inn": model})


def params(search: Search) -> list[tuple[float, float]]:
    return [(t.params["dropout"], t.params["weight_decay"]) for t in search.study.trials]


@pytest.mark.slow
def test_the_papers_points_come_first_and_the_search_is_gone_on_with(tmp_path, size, monkeypatch):
    whole = Search(Lab(tmp_path / "whole"), size)
    whole.run()
    assert params(whole)[:6] == list(TABLE_6)
    assert len(set(params(whole))) == 8
    assert all(t.value for t in whole.study.trials)

    lab, calls = Lab(tmp_path / "runs"), []

    def dies(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 8:
            raise RuntimeError("killed")
        return fit(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(labs, "fit", dies)
        with pytest.raises(RuntimeError, match="killed"):
            Search(lab, size).run()
    again = Search(Lab(tmp_path / "runs"), size)
    assert [t.state.name for t in again.study.trials] == ["COMPLETE"] * 7 + ["RUNNING"]
    again.run()
    assert params(again) == params(whole)
    assert [t.value for t in again.study.trials] == [t.value for t in whole.study.trials]

    def poisoned(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(labs, "fit", poisoned)
    Search(Lab(tmp_path / "runs"), size).run()
    with pytest.raises(AssertionError, match="trained again"):
        Search(Lab(tmp_path / "runs"), replace(size, searched=3)).run()
    with pytest.raises(AssertionError, match="trained again"):
        Search(Lab(tmp_path / "runs", resume=False), size).run()


@pytest.mark.slow
def test_several_at_once_share_the_trials(tmp_path, size, monkeypatch):
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments)
        return fit(*arguments, **options)

    monkeypatch.setattr(labs, "fit", counted)
    searches = [Search(Lab(tmp_path / "runs"), size) for _ in range(3)]
    at_work = [threading.Thread(target=search.run) for search in searches]
    for one in at_work:
        one.start()
    for one in at_work:
        one.join()
    assert len(calls) == 8
    assert [t.state.name for t in searches[0].study.trials] == ["COMPLETE"] * 8
    assert sorted(params(searches[0])[:6]) == sorted(TABLE_6)
