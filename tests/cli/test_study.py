"""`inn study`: runs, stops, goes on, shows, refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inn.runs.directory import Run
from inn_studies import lab as labs

SMOKE = ["study", "wikitext2", "--scale", "smoke", "--workers", "1"]
"""Six runs of a second."""
RUNS = Path("runs/studies")


def plain(entry: dict) -> list[tuple]:
    """What a result says of its models, without clocks and places."""
    return [(row["label"], row["lr"], row["valid_ppl"], row["test_ppl"]) for row in entry["result"]["rows"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, inn) -> Path:
    """A folder in which the study has been run; not to be changed."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = inn(*SMOKE, "--json")
    assert result.code == 0, result
    assert json.loads(result.out) == json.loads((folder / RUNS / "smoke" / "wikitext2.json").read_text())["smoke"]
    assert "trained lstm 0.003 0" in result.err
    return folder


@pytest.fixture
def results(whole, tmp_path, monkeypatch) -> Path:
    """A results folder with a smoke result passed off as one of scale cpu, in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    entry = json.loads((whole / RUNS / "smoke" / "wikitext2.json").read_text())["smoke"]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "wikitext2.json").write_text(json.dumps({"cpu": {**entry, "scale": "cpu"}}))
    return tmp_path / "results"


def poisoned(*arguments, **options):
    raise AssertionError("trained again")


@pytest.mark.slow
def test_a_finished_study_trains_nothing(whole, inn, monkeypatch):
    monkeypatch.chdir(whole)
    before = json.loads((RUNS / "smoke" / "wikitext2.json").read_text())["smoke"]
    monkeypatch.setattr(labs, "fit", poisoned)
    again = inn(*SMOKE, "--resume", "--json")
    assert again.code == 0, again
    assert json.loads(again.out)["result"] == before["result"]
    with pytest.raises(AssertionError, match="trained again"):
        inn(*SMOKE, "--seeds", "2")


@pytest.mark.slow
def test_one_run_too_few_is_trained_alone(whole, inn, monkeypatch, tmp_path):
    import shutil

    shutil.copytree(whole, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    (gone,) = RUNS.glob("transformer-0-003-0-*")
    shutil.rmtree(gone)
    times = {path: path.stat().st_mtime_ns for path in RUNS.glob("*/checkpoints/*/*")}
    result = inn(*SMOKE, "--json")
    assert result.code == 0
    assert "1 of 1: trained transformer 0.003 0" in result.err
    assert {path: path.stat().st_mtime_ns for path in times} == times
    first = json.loads((whole / RUNS / "smoke" / "wikitext2.json").read_text())["smoke"]
    assert plain(json.loads(result.out)) == plain(first)


def sizes(folder: Path) -> dict[Path, int]:
    """Bytes of what each run has logged."""
    return {path.parent: path.stat().st_size for path in (folder / RUNS).glob("*/metrics.jsonl")}


def until_it_trains(process: subprocess.Popen, folder: Path) -> None:
    """Wait until a run that has not ended has logged a step."""
    until, before = time.monotonic() + 150, sizes(folder)
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        for run, size in sizes(folder).items():
            # One that was stopped before has a summary already, and goes on.
            if size > 0 and size != before.get(run) and (Run(run).summary() or {}).get("status") != "finished":
                return
        time.sleep(0.005)
    raise AssertionError("nothing was trained")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_interrupted_terminated_and_killed_it_comes_to_the_same_result(whole, tmp_path):
    def start(*more: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "inn", *SMOKE, *more],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # also where the tests run as a background job, whose children ignore it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    for number, workers in ((signal.SIGINT, "1"), (signal.SIGTERM, "2"), (signal.SIGKILL, "2")):
        process = start("--workers", workers)
        until_it_trains(process, tmp_path)
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
        assert out == ""
        if number != signal.SIGKILL:
            assert process.returncode == 130
            assert err.endswith("inn: interrupted\n")
            assert "Traceback" not in err
        assert not (tmp_path / RUNS / "smoke" / "wikitext2.json").exists()
    process = start("--json")  # waits for a worker that is still writing its checkpoint
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    first = json.loads((whole / RUNS / "smoke" / "wikitext2.json").read_text())["smoke"]
    assert plain(json.loads(out)) == plain(first)
    assert not [path for path in (tmp_path / RUNS).iterdir() if path.name.endswith((".tmp", ".trash"))]


@pytest.mark.slow
def test_no_resume_trains_afresh(whole, inn, monkeypatch):
    """And only what it needs: the marks of other runs stay."""
    monkeypatch.chdir(whole)
    (run,) = RUNS.glob("lstm-0-003-0-*")
    (run / "stale").touch()
    (RUNS / "other-0123456789").mkdir(exist_ok=True)
    result = inn(*SMOKE, "--no-resume")
    assert result.code == 0, result
    assert not (run / "stale").exists()
    assert (RUNS / "other-0123456789").exists()
    assert "7 of 7: trained" in result.err


@pytest.mark.slow
def test_a_diverged_model_is_a_row(tmp_path, inn, monkeypatch):
    from inn.training.finite import TrainingDiverged
    from inn.training.trainer import fit

    def diverges(config, path, **options):
        summary = fit(config, path, **options)
        if config.model.kind == "lstm":
            Run(path).write_summary({**(Run(path).summary() or {}), "status": "diverged"})
            raise TrainingDiverged("training diverged at step 8")
        return summary

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(labs, "fit", diverges)
    result = inn(*SMOKE)
    assert result.code == 0, result
    assert "| lstm | 9,847 | 0.04 M | 0.003 | – | – | 3.57 |" in result.out
    assert "| lstm | 3.57 PPL (Table 4) | – | **not measured** | every run of lstm diverged |" in result.out


@pytest.mark.slow
def test_show_prints_what_was_measured_and_runs_nothing(results, inn, monkeypatch):
    monkeypatch.setattr(labs, "fit", poisoned)
    before = sorted(results.parent.rglob("*"))
    shown = inn("study", "wikitext2", "--show")
    assert shown.code == 0
    assert shown.out.startswith("## wikitext2\n\nWho predicts")
    assert "| transformer-paper |" in shown.out
    assert "Measured by `inn study wikitext2 --scale smoke --seeds 1`, commit" in shown.out
    data = json.loads(inn("study", "wikitext2", "--show", "--json", "--scale", "cpu").out)
    assert data == json.loads((results / "wikitext2.json").read_text())["cpu"]
    assert sorted(results.parent.rglob("*")) == before


@pytest.mark.slow
def test_show_refuses_what_is_not_there_or_damaged(results, refused):
    assert "has no results of study 'wikitext2' at scale gpu" in refused("study", "wikitext2", "--show", "--scale=gpu")
    assert "run it: inn study ptb --scale cpu" in refused("study", "ptb", "--show")
    kept = json.loads((results / "wikitext2.json").read_text())
    kept["cpu"]["result"]["rows"][0].pop("valid_ppl")
    (results / "wikitext2.json").write_text(json.dumps(kept))
    assert "was changed, or is another version's (KeyError" in refused("study", "wikitext2", "--show")
    assert "was changed" in refused("study", "--report")
    (results / "wikitext2.json").write_text("{")
    for argv in (["wikitext2", "--show"], ["wikitext2", "--show", "--json"], ["wikitext2"], ["--report"]):
        assert "is not a results file of a study" in refused("study", *argv)
    assert not Path("docs").exists()


@pytest.mark.slow
def test_the_report_is_written_from_the_results(results, inn):
    done = inn("study", "--report")
    assert done.code == 0
    text = Path("docs/reproduction.md").read_text()
    assert "| [wikitext2](studies/wikitext2.md) | Table 4 |" in text
    assert "| transformer-paper | 3.49 PPL (Table 4) |" in text
    assert "# wikitext2: Table 4" in Path("docs/studies/wikitext2.md").read_text()
    assert "Not measured yet; `inn study ptb --scale cpu` does it." in Path("docs/studies/ptb.md").read_text()


@pytest.mark.parametrize(
    "argv, sentence",
    [
        ([], "NAME is missing: text8, "),
        (["txt8"], "unknown study 'txt8'; did you mean 'text8'?"),
        (["text8", "ptb"], "unexpected argument 'ptb'"),
        (["text8", "--scale", "gup"], "--scale cannot be 'gup'; did you mean 'gpu'?"),
        (["text8", "--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["text8", "--seeds", "two"], "--seeds expects a whole number or null, not 'two'"),
        (["text8", "--workers", "-1"], "--workers must be at least 1, not -1"),
        (["text8", "--scale"], "--scale needs a value"),
        (["text8", "--sclae", "cpu"], "unknown option '--sclae'; did you mean '--scale'?"),
        (["text8", "--resume", "--no-resume"], "--resume and --no-resume exclude each other"),
        (["text8", "--show", "--no-resume"], "--show runs nothing; leave out --no-resume"),
        (["text8", "--show", "--seeds", "2"], "--show runs nothing; leave out --seeds"),
        (["text8", "--show", "--results", "nowhere"], "'nowhere/text8.json' has no results of study 'text8'"),
        (["text8", "--report"], "--report covers all studies; leave out the name"),
        (["--report", "--json"], "--report runs nothing; leave out --json"),
        (["--report", "--scale", "cpu"], "--report runs nothing; leave out --scale"),
    ],
)
def test_mistakes_are_one_sentence(refused, tmp_path, monkeypatch, argv, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused("study", *argv)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["runs", "results", "docs"])
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_run(refused, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(labs, "fit", poisoned)
    (tmp_path / name).touch()
    sentence = refused("study", "--report") if name == "docs" else refused("study", "text8")
    assert f"cannot write '{name}" in sentence
    assert "check the folder and its permissions" in sentence


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir(mode=0o500)
    assert "cannot write 'results'" in refused("study", "text8")
