"""Sweeps choose by what was measured; rows say where they come from; tables are what they look like."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inn.config.settings import read_recipe
from inn.runs.directory import Run
from inn.training.finite import TrainingDiverged
from inn.training.trainer import fit
from inn_studies import STUDIES, open_study
from inn_studies import lab as labs
from inn_studies.rows import best_bits, markdown, model_settings, scored_rows, spread, tune
from inn_studies.sizes import SCALES, Size


@pytest.fixture
def size(job):
    """Runs of eight steps over two learning rates."""
    return Size("study-smoke", dict(job("a").settings), rates=(1e-4, 1e-2), further=0, scored=300)


def diverging(*rates: float):
    """`train` for which runs at these learning rates diverge."""

    def run(config, path, **options):
        summary = fit(config, path, **options)
        if config.train.lr in rates:
            Run(path).write_summary({**(Run(path).summary() or {}), "status": "diverged"})
            raise TrainingDiverged("training diverged at step 8")
        return summary

    return run


def test_the_best_rate_is_taken_to_the_other_seeds(lab, size):
    (tuned,) = tune(lab, size, {"lstm": {}}, seeds=2)
    assert tuned.rate == min((1e-4, 1e-2), key=lambda rate: tuned.sweep[f"{rate:g}"]) == 1e-2
    assert [run.config().train.seed for run in tuned.runs] == [0, 1]
    assert {run.config().train.lr for run in tuned.runs} == {1e-2}
    assert len(list(lab.root.glob("*/config.yaml"))) == 3  # two rates, one more seed
    row = scored_rows(lab, size, [tuned])[0]
    assert (row["lr"], row["diverged"], len(row["valid_bits"]), row["scored"]["test"]) == (1e-2, 0, 2, 299)
    summary = tuned.runs[0].summary() or {}
    assert row["parameters"] == summary["parameters"]
    assert row["commit"] == summary["commit"]
    assert row["data"]["sha256"] == summary["data"]["sha256"]


def test_a_sweep_goes_on_while_its_best_rate_is_the_last(lab, size):
    (tuned,) = tune(lab, replace(size, rates=(1e-5, 1e-4), further=1), {"lstm": {}}, seeds=1)
    assert list(tuned.sweep) == ["1e-05", "0.0001", "0.001"]
    assert tuned.rate == 1e-3  # further would be better still


def test_a_sweep_goes_on_below_its_lowest_rate(lab, size, monkeypatch):
    monkeypatch.setattr(labs, "fit", diverging(1e-2, 3e-2))
    (tuned,) = tune(lab, replace(size, rates=(1e-2, 3e-2), further=3), {"lstm": {}}, seeds=1)
    assert list(tuned.sweep) == ["0.00111", "0.00333", "0.01", "0.03"]  # 1.11e-3 is worse than 3.33e-3: enough
    assert tuned.rate == 0.00333


def test_one_rate_is_no_sweep(lab, size):
    (tuned,) = tune(lab, replace(size, rates=(1e-4,), further=3), {"lstm": {}}, seeds=1)
    assert list(tuned.sweep) == ["0.0001"]


def test_a_rate_that_diverges_is_not_chosen(lab, size, monkeypatch):
    monkeypatch.setattr(labs, "fit", diverging(1e-2))
    (tuned,) = tune(lab, size, {"lstm": {}}, seeds=1)
    assert tuned.rate == 1e-4
    assert tuned.sweep["0.01"] is None
    assert best_bits(tuned.runs[0]) is not None


def test_a_model_that_diverges_at_every_rate_is_still_a_row(lab, size, monkeypatch):
    monkeypatch.setattr(labs, "fit", diverging(1e-4, 1e-2))
    tuned = tune(lab, size, {"lstm": {}}, seeds=2)
    row = scored_rows(lab, size, tuned)[0]
    assert (row["lr"], row["diverged"], row["valid_bits"], row["test_bits"]) == (1e-4, 2, [], [])


def test_a_model_the_recipe_does_not_have_is_found_out():
    with pytest.raises(AssertionError, match="lsmt is no model of demo"):
        model_settings(Size("demo"), "lsmt")


def test_a_size_with_other_settings_leaves_the_first_as_it_was():
    size = Size("demo", {"train.symbols": 1})
    assert size.but(train_symbols=2, data_window=3).settings == {"train.symbols": 2, "data.window": 3}
    assert size.settings == {"train.symbols": 1}


def test_tables_align_and_spreads_round():
    assert markdown(["a", "b:"], [["x", "1"], ["y", "2"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"
    assert (spread([1.0, 3.0], 1), spread([1.2345], 2), spread([])) == ("2.0 ± 1.4", "1.23", "–")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_every_scale_and_its_recipes(name):
    study = open_study(name)
    assert study.name == name
    assert set(study.sizes()) == set(SCALES)
    for size in study.sizes().values():
        assert read_recipe(size.recipe)["models"]


def test_a_model_may_have_a_sweep_of_its_own(lab, size):
    apart = replace(size, rates_of={"slow": (1e-5, 1e-3)})
    slow, usual = tune(lab, apart, {"slow": {}, "usual": {}}, seeds=1)
    assert list(slow.sweep) == ["1e-05", "0.001"]
    assert list(usual.sweep) == ["0.0001", "0.01"]
