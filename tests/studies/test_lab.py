"""Runs are trained once, whatever they are called and whatever happens to the process that trains them."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time

import pytest
import yaml

from inn.runs.directory import Run
from inn.system.errors import InputError
from inn.training.finite import TrainingDiverged
from inn.training.trainer import fit
from inn_studies import lab as labs
from inn_studies.lab import Lab, status


def weights(run: Run) -> bytes:
    return max(run.path.glob("checkpoints/step-*/model.safetensors")).read_bytes()


def poisoned(*arguments, **options):
    raise AssertionError("trained again")


def bits_of(run: str, times: int = 1) -> float:
    """A measure: the run's best validation, so many times."""
    return (Run(run).summary() or {})["best"]["bits"] * times


def squared(number: int) -> dict[str, int]:
    """What needs no run; of a negative number it fails."""
    if number < 0:
        raise ValueError("negative")
    return {"square": number**2}


def infinite(run: str) -> float:
    return float("inf")


def slow(run: str) -> int:
    """A measure that takes a while in a process of its own."""
    time.sleep(20)
    return 0


def kills_itself(run: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_runs_are_shared_by_settings_whatever_the_label_threads_and_device(lab, job):
    first, second, other = lab.train([job("a"), job("b", **{"train.threads": 2}), job("c", **{"train.seed": 1})])
    assert first.path == second.path != other.path
    assert first.path.name.startswith("a-")
    assert len([p for p in lab.root.iterdir() if p.is_dir()]) == 2
    assert Lab(lab.root).train([job("d")])[0].path == first.path


def test_what_is_finished_is_not_trained_again(lab, job, monkeypatch):
    (run,) = lab.train([job("a")])
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    monkeypatch.setattr(labs, "fit", poisoned)
    Lab(lab.root).train([job("again"), job("and again")])
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    with pytest.raises(AssertionError, match="trained again"):
        Lab(lab.root).train([job("new", **{"train.seed": 2})])


def test_a_run_from_before_an_option_existed_is_still_this_run(lab, job, monkeypatch):
    """A new option changes every digest; what a run was not told is the default."""
    (run,) = lab.train([job("a")])
    tree = yaml.safe_load((run.path / "config.yaml").read_text())
    del tree["train"]["accumulate"]
    (run.path / "config.yaml").write_text(yaml.safe_dump(tree))
    old = run.path.rename(lab.root / "a-0123456789")
    shutil.copytree(old, lab.root / "damaged-0123456789")
    (lab.root / "damaged-0123456789" / "config.yaml").write_text("model: {kind: gone}")
    monkeypatch.setattr(labs, "fit", poisoned)
    assert Lab(lab.root).train([job("a")])[0].path == old
    with pytest.raises(AssertionError, match="trained again"):
        Lab(lab.root).train([job("a", **{"train.accumulate": 2})])


def test_without_resume_each_run_is_trained_afresh_once(lab, job):
    (run,) = lab.train([job("a")])
    (run.path / "stale").touch()
    fresh = Lab(lab.root, resume=False)
    (again,) = fresh.train([job("b")])
    assert again.path == run.path
    assert not (run.path / "stale").exists()
    (run.path / "mark").touch()
    fresh.train([job("c")])
    assert (run.path / "mark").exists()


def test_a_run_stopped_half_way_goes_on_to_the_same_result(lab, job, monkeypatch):
    (whole,) = Lab(lab.root.with_name("whole")).train([job("a")])

    def stopped_by_signal(*arguments, **options):
        def stop(event):
            if event.step == 2:
                signal.raise_signal(signal.SIGTERM)

        return fit(*arguments, **options, report=stop)

    with monkeypatch.context() as patch:
        patch.setattr(labs, "fit", stopped_by_signal)
        with pytest.raises(KeyboardInterrupt):
            lab.train([job("a")])
    (path,) = lab.root.glob("a-*")
    assert status(Run(path)) == "stopped"
    (run,) = Lab(lab.root).train([job("a")])
    assert status(run) == "finished"
    assert weights(run) == weights(whole)
    assert (run.summary() or {})["best"] == (whole.summary() or {})["best"]


def test_what_was_computed_goes_on_from_a_file_without_the_runs(tmp_path):
    part, cases = tmp_path / "study.part.jsonl", {"two": {"number": 2}, "minus": {"number": -1}}
    with pytest.raises(ValueError, match="negative"):
        Lab(tmp_path / "here", kept=part).compute(squared, cases)
    part.write_text(part.read_text().replace('"square": 4', '"square": 5'))  # to be told from what is computed
    there, said = tmp_path / "there", []
    lab = Lab(there, kept=part, report=lambda what, done, of: said.append(what))
    found = lab.compute(squared, {"again": {"number": 2}, "three": {"number": 3}})
    assert [of["square"] for of in found.values()] == [5, 9]
    assert said == ["squared: three"]
    assert len(part.read_text().splitlines()) == 2
    afresh = Lab(tmp_path / "afresh", kept=part, resume=False).compute(squared, {"two": {"number": 2}})
    assert afresh["two"]["square"] == 4
    part.write_text("{")
    with pytest.raises(InputError, match=r"does not hold what was computed .*remove it to compute it again"):
        lab.compute(squared, cases)


def test_a_diverged_run_is_a_result(lab, job, monkeypatch):
    def diverges(config, path, **options):
        fit(config, path, **options)
        run = Run(path)
        run.write_summary({**(run.summary() or {}), "status": "diverged"})
        raise TrainingDiverged("training diverged at step 8")

    monkeypatch.setattr(labs, "fit", diverges)
    runs = lab.train([job("a"), job("b", **{"train.seed": 1})])
    assert [status(run) for run in runs] == ["diverged", "diverged"]
    monkeypatch.setattr(labs, "fit", poisoned)
    assert lab.measure(bits_of, Lab(lab.root).train([job("a")])) == [None]


def test_measures_are_kept_beside_the_run_by_their_options(lab, job):
    (run,) = lab.train([job("a")])
    once, twice = lab.measure(bits_of, [run]), lab.measure(bits_of, [run], times=2)
    assert twice[0] == 2 * once[0]
    file = run.path / "measured" / "bits_of-times=2.json"
    file.write_text("5.0")
    assert lab.measure(bits_of, [run, run], times=2) == [5.0, 5.0]
    with pytest.raises(InputError, match=r"infinite of run .* is not finite"):
        lab.measure(infinite, [run])


def test_progress_is_told(tmp_path, job):
    told = []
    lab = Lab(tmp_path / "runs", report=lambda *what: told.append(what))
    lab.train([job("a"), job("b", **{"train.seed": 1})])
    assert told == [("trained a", 1, 2), ("trained b", 2, 2)]


def test_two_studies_at_once_train_a_run_once(lab, job):
    """The one that comes second waits for the first."""
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments)
        time.sleep(0.5)
        return fit(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labs, "fit", counted)
        both = [threading.Thread(target=Lab(lab.root).train, args=([job(name)],)) for name in "ab"]
        for one in both:
            one.start()
        for one in both:
            one.join()
    assert len(calls) == 1
    assert len(list(lab.root.glob("*/config.yaml"))) == 1


def test_a_folder_that_is_no_run_is_refused(lab, job):
    (lab.root / job("a").folder()).mkdir(parents=True)
    with pytest.raises(InputError, match=r"is not a run: it has no config\.yaml"):
        lab.train([job("a")])


@pytest.mark.slow
def test_workers_come_to_the_same_runs(lab, job):
    wanted = [job(f"seed {seed}", **{"train.seed": seed}) for seed in (0, 1)]
    runs = Lab(lab.root.with_name("side"), workers=2).train(wanted)
    for here, there in zip(lab.train(wanted), runs):
        assert here.path.name == there.path.name
        assert weights(here) == weights(there)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_one_sentence(lab, job):
    runs = lab.train([job(f"seed {seed}", **{"train.seed": seed}) for seed in (0, 1)])
    with pytest.raises(InputError, match=r"a worker was killed.*fewer than --workers 2"):
        Lab(lab.root, workers=2).measure(kills_itself, runs)


@pytest.mark.slow
def test_workers_stop_when_the_study_is_interrupted(lab, job):
    runs = lab.train([job(f"seed {seed}", **{"train.seed": seed}) for seed in (0, 1)])
    threading.Timer(6, signal.pthread_kill, [threading.get_ident(), signal.SIGINT]).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Lab(lab.root, workers=2).measure(slow, runs)
    assert time.monotonic() - began < 18
