"""Every row is judged by its numbers, its page is written from them, and a small one runs from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inn.cli.main import main
from inn.system.errors import InputError
from inn_studies.results import ENTRY
from inn_studies.where import ROWS, open_row
from inn_studies.where.harness import TOLERANCE, Track, rivals
from inn_studies.where.report import entries, page
from inn_studies.where.row import MODELS

ROOT = Path(__file__).parents[3]
MEASURED = [name for name in MODELS if name != "best graph"]


def row(model: str, scores: dict[str, list[float]], seconds: float = 10.0) -> dict:
    return {
        "model": model, "settings": {}, "lr": 0.01, "sweep_valid": {}, "diverged": 0, "parameters": 1000,
        "training_flops_per_step": 1e5, "steps_read": 100, "data": {}, "commit": None, "training_seconds": seconds,
        "scores": scores, "valid": [],
    }  # fmt: skip


def result(name: str, tests: dict[str, dict[str, float]], ours: float, others: float, seeds: int = 3) -> dict:
    """A result by hand: the graph has the score `ours` on every test, the others `others`."""
    spread = [0.001 * i for i in range(seeds)]
    return {
        "skipped": "",
        "tracks": [
            {
                "name": track,
                "tests": dict.fromkeys(of, 200),
                "baseline": {"cheap": {test: {"value": value, "sequences": 200} for test, value in of.items()}},
                "rows": [
                    row(model, {test: [(ours if model == "graph" else others) + d for d in spread] for test in of})
                    for model in MEASURED
                ],
            }
            for track, of in tests.items()
        ],
    }


STATE = {task: {"40": 0.5, "256": 0.5} for task in ("parity", "mod 5", "S3", "S5")}


@pytest.mark.parametrize(
    ("name", "tests", "ours", "others", "answer"),
    [
        ("state", STATE, 0.999, 0.5, "yes"),
        ("state", STATE, 0.9, 0.5, "no"),
        ("machines", {"machines": {"two, T 32": 0.2, "four, T 128": 0.2}}, 0.97, 0.4, "yes"),
        ("machines", {"machines": {"two, T 32": 0.2, "four, T 128": 0.2}}, 0.97, 0.6, "no"),
        ("needle", {"key and value": {"100,000": 0.1}, "logic": {"100,000": 0.5}}, 1.0, 0.1, "yes"),
        ("needle", {"key and value": {"20,000": 0.1}, "logic": {"20,000": 0.5}}, 1.0, 0.1, "no"),
        ("sessions", {"a": {"twice as many": 0.5}}, 0.9, 0.8, "yes"),
        ("sessions", {"a": {"twice as many": 0.5}}, 0.8, 0.8, "no"),
        ("gaps", {"copy": {"four times": 0.1}}, 0.9, 0.5, "yes"),
        ("gaps", {"copy": {"four times": 0.1}}, 0.4, 0.5, "no"),
        ("balls", {"balls": {"four balls": 0.2}}, 0.01, 0.05, "yes"),
        ("balls", {"balls": {"four balls": 0.2}}, 0.05, 0.01, "no"),
        ("forecast", {"ETTh1": {"test": 0.2}}, 0.01, 0.05, "yes"),
        ("damage", {"JapaneseVowels": {"nothing": 0.9, "one block absent": 0.1}}, 0.02, 0.1, "no"),  # right on nothing
        ("play", {"RepeatPreviousEasy": {"return": 0.1}}, 0.96, 0.9, "yes"),
        ("play", {"RepeatPreviousEasy": {"return": 0.1}}, 0.94, 0.9, "no"),
        ("chaos", {"flows": {"trained systems": 0.1, "unseen systems": 0.5}}, 1.2, 0.4, "yes"),
        ("chaos", {"flows": {"trained systems": 0.1, "unseen systems": 1.5}}, 1.2, 0.4, "no"),
        ("chaos", {"flows": {"trained systems": 0.1, "unseen systems": 0.5}}, 0.8, 0.4, "no"),
    ],
)
def test_a_verdict_is_what_the_numbers_say(name, tests, ours, others, answer):
    found = open_row(name).judge(result(name, tests, ours, others))
    assert found.answer == answer
    assert "graph" in found.because


def test_one_seed_cannot_say_that_a_score_that_is_no_share_is_ahead():
    tests = {"balls": {"four balls": 0.2}}
    assert open_row("balls").judge(result("balls", tests, 0.01, 0.05, seeds=1)).answer == "undecided"
    assert open_row("balls").judge(result("balls", tests, 0.05, 0.01, seeds=1)).answer == "no"
    assert open_row("gaps").judge(result("gaps", {"copy": {"four times": 0}}, 0.9, 0.5, seeds=1)).answer == "yes"


def test_speech_needs_both_halves_and_series_the_published_mean():
    speech = {"JapaneseVowels": {"test": 0.9}, "spoken digits": {"official": 0.9, "unseen speakers": 0.8}}
    assert open_row("speech").judge(result("speech", speech, 0.99, 0.9)).answer == "yes"
    assert open_row("speech").judge(result("speech", speech, 0.99, 0.97)).answer == "half of it"
    assert open_row("speech").judge(result("speech", speech, 0.5, 0.97)).answer == "no"
    measured = result("series", {"GunPoint": {"test": 0.9}}, 0.95, 0.9)
    assert open_row("series").judge(measured).answer == "undecided"
    for who, value in (("InceptionTime", 0.97), ("HC2", 1.0)):
        measured["tracks"][0]["baseline"][f"{who}, published"] = {"test": {"value": value, "sequences": 1}}
    found = open_row("series").judge(measured)
    assert (found.answer, "behind on GunPoint" in found.because) == ("no", True)


def written(folder: Path, found: dict) -> None:
    folder.mkdir(exist_ok=True)
    for name, measured in found.items():
        entry = {
            **dict.fromkeys(ENTRY), "command": f"inn study where --rows {name}", "scale": "short", "seeds": 1,
            "hardware": {"cpu": "a processor"}, "versions": {"torch": "2"}, "result": measured,
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps({"short": entry}))


def test_the_page_has_a_table_of_all_rows_and_a_verdict_for_each(tmp_path):
    skipped = {"skipped": "aeon is not installed", "tracks": []}
    written(tmp_path, {"state": result("state", STATE, 0.9, 0.5), "speech": skipped})
    text = page(tmp_path)
    assert "Of 2 rows: 1 no, 1 skipped." in text
    assert "| [state](#state) | accuracy | 0.901 ± 0.003 | 0.501 ± 0.002 |" in text
    assert text.count("**no**") == 2  # in the table, and in the paragraph
    assert "aeon is not installed" in text
    assert "| parity | LSTM | 1,000 | 100 k | 10 | 0.01 |" in text
    with pytest.raises(InputError, match="run inn study where --rows needle"):
        entries(tmp_path, ["needle"])
    del skipped["skipped"]
    (tmp_path / "state.json").write_text((tmp_path / "state.json").read_text().replace('"rows"', '"raws"'))
    with pytest.raises(InputError, match="was changed, or is another version's"):
        page(tmp_path)


def test_the_page_is_that_of_the_results():
    assert (ROOT / "docs" / "where.md").read_text(encoding="utf-8") == page(ROOT / "results" / "where")


def test_rivals_have_as_many_parameters_as_the_graph():
    from inn.models.build import parameters_of
    from inn_studies.where.harness import configured

    models = rivals(Track("parity", "task:parity", 1))
    sizes = {name: parameters_of(configured(fields, {"vocab": 2})) for name, fields in models.items()}
    assert list(sizes) == MEASURED
    assert all(abs(size / sizes["graph"] - 1) <= TOLERANCE for size in sizes.values())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--rows", "stat"], "state"),
        (["--scale", "gpu"], "--scale cannot be 'gpu'"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--show", "--seeds", "2"], "--show runs nothing"),
        (["--show"], "run inn study where --rows state"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(given, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "where", *given]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_every_row_runs_at_the_smallest_scale_and_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "where", "--scale", "smoke"]) == 0
    shown = capsys.readouterr().out
    assert all(f"| [{name}](#{name}) |" in shown for name in ROWS)
    assert main(["study", "where", "--rows", "state", "--scale", "smoke"]) == 0
    shown, said = capsys.readouterr()
    assert "| [state](#state) | accuracy |" in shown
    assert "| parity | one wide neuron |" in shown
    assert "train_and_score" not in said  # what is done is not done again
    assert main(["study", "where", "--rows", "state", "--show", "--results", "runs/studies/smoke"]) == 0
    assert capsys.readouterr().out == shown
