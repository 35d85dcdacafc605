"""The work of a sweep: it is gone on with, shared, pruned, and no trial is lost with its process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time

import optuna
import pytest

from inn.config.settings import resolve
from inn.runs.directory import Run
from inn.sweep import search, trials, work
from inn.sweep.space import Choice, Range, Space
from inn.sweep.trials import counted
from inn.sweep.work import plan_sweep, run_sweep
from inn.system.errors import InputError
from inn.training.trainer import fit


def values(study) -> list[tuple]:
    return [(trial.params, trial.value) for trial in counted(study)]


def states(study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_trials_are_training_runs_and_the_recipes_own_settings_come_first(plan, tiny):
    sweep = plan(space=Space({"train.lr": Range(1e-3, 1e-1, log=True), "model.width": Choice((24, 8))}))
    study = run_sweep(sweep)
    assert states(study) == ["COMPLETE"] * 3
    assert study.trials[0].params == {"train.lr": 0.01, "model.width": 24}  # the recipe's for this kind
    for trial in study.trials:
        summary = Run(sweep.run(trial)).summary()
        assert summary["best"]["bits"] == trial.value
        assert summary["config"]["train"]["lr"] == trial.params["train.lr"]
        assert summary["config"]["model"]["width"] == trial.params["model.width"]
        assert sorted(trial.intermediate_values) == [250, 500, 750]
    best = study.best_trial
    again = fit(resolve(sweep.recipe, sweep.overrides_of(best.params)).config, sweep.folder / "again")
    assert again["best"]["bits"] == best.value


def test_a_sweep_is_gone_on_with_as_if_it_had_never_stopped(plan, monkeypatch):
    whole = run_sweep(plan("whole", trials=4))
    told = []
    run_sweep(plan("parts", trials=2), report=told.append)
    assert [trial.number for trial in told] == [0, 1]
    parts = run_sweep(plan("parts", trials=4), report=told.append)
    assert [trial.number for trial in told] == [0, 1, 2, 3]
    assert values(parts) == values(whole)
    monkeypatch.setattr(work, "fit", None)  # all is done: nothing is trained
    assert values(run_sweep(plan("parts", trials=4))) == values(whole)


def test_another_space_or_recipe_is_another_study_in_the_same_folder(plan):
    first, second = plan(trials=1), plan(trials=1, space=Space({"train.lr": Choice((0.01, 0.02))}))
    third = plan(trials=1, overrides=("--train.seed=3",))
    assert len({p.study for p in (first, second, third)}) == 3
    assert plan(trials=7, pruner="median").study == first.study
    for one in (first, second):
        assert len(run_sweep(one).trials) == 1
    assert len(list(first.folder.glob("*/config.yaml"))) == 2


@pytest.mark.slow
def test_values_that_do_not_go_together_and_runs_that_diverge_are_failed_trials(plan, tiny, tmp_path):
    space = Space({"train.lr": Choice((0.01, 1e30)), "model.width": Choice((24, 8))})
    study = run_sweep(plan(space=space, trials=6, overrides=("--train.clip=0",)))
    assert set(states(study)) == {"COMPLETE", "FAIL"}
    for trial in study.trials:
        assert (trial.state.name == "FAIL") == (trial.params["train.lr"] == 1e30)
        assert ("error" in trial.user_attrs) == (trial.state.name == "FAIL")
    kinds = Space({"model.kind": Choice(("lstm", "transformer")), "model.width": Choice((6,))})
    given = [token for token in tiny if not token.startswith("--model.")]
    study = run_sweep(plan_sweep("study-smoke", given, kinds, trials=5, folder=tmp_path, pruner="none"))
    failed = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert failed
    assert all("must be a multiple of 2 x heads" in trial.user_attrs["error"] for trial in failed)


@pytest.mark.slow
def test_trials_that_promise_little_are_pruned(plan):
    space = Space({"train.lr": Choice((0.03, 1e-7))})
    sweep = plan(space=space, trials=7, pruner="median")
    for rate in [0.03] * 5 + [1e-7] * 2:
        sweep.folder.mkdir(exist_ok=True)
        sweep.open().enqueue_trial({"train.lr": rate})
    study = run_sweep(sweep)
    assert states(study) == ["COMPLETE"] * 5 + ["PRUNED"] * 2
    assert [trial.last_step for trial in study.trials[5:]] == [250, 250]  # the first look after a fifth of the run
    hyper = run_sweep(plan("hyper", space=space, trials=8, pruner="hyperband"))
    assert set(states(hyper)) <= {"COMPLETE", "PRUNED"}
    assert len(hyper.trials) == 8


def test_a_signal_stops_a_sweep_and_its_trial_is_gone_on_with(plan, monkeypatch):
    whole = run_sweep(plan("whole"))
    steps = []

    def stopping(*arguments, report, **options):
        def hears(event):
            steps.append(event.step)
            if len(steps) == 5:
                signal.raise_signal(signal.SIGTERM)
            report(event)

        return fit(*arguments, report=hears, **options)

    with monkeypatch.context() as patch:
        patch.setattr(work, "fit", stopping)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(plan("stopped"))
    study = run_sweep(plan("stopped"))
    assert states(study).count("FAIL") == 1
    assert len(counted(study)) == 3
    assert sorted(map(str, values(study))) == sorted(map(str, values(whole)))


def test_what_is_no_trials_fault_stops_the_sweep_and_keeps_the_trial(plan, monkeypatch):
    def full(*arguments, **options):
        raise InputError("no space left on the device")

    with monkeypatch.context() as patch:
        patch.setattr(work, "fit", full)
        with pytest.raises(InputError, match="no space left"):
            run_sweep(plan())
    study = run_sweep(plan())
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert len(counted(study)) == 3


@pytest.mark.parametrize(
    "url, why",
    [
        ("sqlite:////no/such/folder/sweep.db", "unable to open database file"),
        ("nothing", "Could not parse"),
        ("mysteriousdb://u:secret@127.0.0.1/x", "Can't load plugin"),
    ],
)
def test_a_storage_that_cannot_be_reached(plan, url, why, tmp_path):
    with pytest.raises(InputError, match=why) as refused:
        run_sweep(plan(storage=url))
    assert "secret" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_is_given_or_searched(plan):
    with pytest.raises(InputError, match=r"--train\.lr is searched by the space"):
        plan(overrides=("--train.lr=3",))


def test_a_storage_of_ones_own(plan, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    study = run_sweep(plan("here", trials=2, storage=url))
    there = run_sweep(plan("there", trials=3, storage=url))  # as another machine would
    assert len(study.trials) == len(there.trials) == 3
    assert len(list((tmp_path / "there").glob("*/config.yaml"))) == 1


KILLED = """
import os, signal, sys, pickle
from inn.sweep import work
from inn.training.trainer import fit
def dies(*arguments, report, **options):
    def hears(event):
        report(event)
        if type(event).__name__ == "Saved" and event.step == 4:
            print("in the middle", flush=True)
            signal.pause()
    return fit(*arguments, report=hears, **options)
work.fit = dies
work.run_sweep(pickle.loads(bytes.fromhex(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_in_the_middle_of_a_trial(plan, monkeypatch):
    import pickle

    sweep = plan(trials=2)
    whole = run_sweep(plan("whole", trials=2))
    code = [sys.executable, "-c", KILLED, pickle.dumps(sweep).hex()]
    process = subprocess.Popen(code, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in the middle\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert sqlite3.connect(sweep.folder / "sweep.db").execute("pragma integrity_check").fetchone() == ("ok",)
    monkeypatch.setattr(search, "GRACE", 2)
    monkeypatch.setattr(work, "WAIT", 0.2)
    calls = []

    def counting(*arguments, resume=False, **options):
        calls.append(resume)
        return fit(*arguments, resume=resume, **options)

    monkeypatch.setattr(work, "fit", counting)
    time.sleep(4)  # well past the grace, or the other trial would come first
    study = run_sweep(sweep)
    assert calls == [True, False]  # from the checkpoint of step 4, not from the start
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert values(study) == values(whole)
    assert study.trials[1].intermediate_values.keys() == whole.trials[0].intermediate_values.keys()


def test_there_are_no_more_workers_than_trials(plan, monkeypatch):
    monkeypatch.setattr("inn.sweep.work._side_by_side", lambda *_: pytest.fail("a process was started"))
    assert len(run_sweep(plan(trials=1), workers=100_000).trials) == 1


@pytest.mark.slow
def test_workers_share_the_trials(plan):
    told = []
    study = run_sweep(plan(trials=5), workers=2, report=told.append)
    assert states(study) == ["COMPLETE"] * 5
    assert sorted(trial.number for trial in told) == [0, 1, 2, 3, 4]
    assert len({str(trial.params) for trial in study.trials}) == 5


STARTED = """
import sys, pickle
from inn.sweep.work import run_sweep
if __name__ == "__main__":
    run_sweep(pickle.loads(bytes.fromhex(sys.argv[1])), workers=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process is ended otherwise there")
def test_workers_whose_starter_dies_save_and_put_their_trials_back(plan, tmp_path):
    import pickle

    sweep = plan(trials=4, overrides=("--train.symbols=2000000",))
    (tmp_path / "start.py").write_text(STARTED)
    code = [sys.executable, str(tmp_path / "start.py"), pickle.dumps(sweep).hex()]
    process = subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while len({path.parents[1] for path in sweep.folder.glob("*/checkpoints/step-*/checkpoint.json")}) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    process.terminate()
    process.communicate()  # until the workers are gone too
    study = sweep.open()
    assert states(study) == ["FAIL", "FAIL", "WAITING", "WAITING"]
    assert {trials.origin(trial) for trial in study.trials[2:]} == {0, 1}
    for trial in study.trials[2:]:
        assert Run(sweep.run(trial)).summary()["status"] == "stopped"


@pytest.mark.slow
def test_a_workers_mistake_is_told_in_its_own_words(plan, monkeypatch):
    sweep = plan(overrides=("--data.window=100000",))
    with pytest.raises(InputError, match="a window needs 100,001"):
        run_sweep(sweep, workers=2)


def test_without_optuna(plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"a sweep needs Optuna; install it: pip install 'inn-torch\[sweep\]'"):
        search.open_study("sqlite://", "x")


def test_lost_trials_are_not_begun_for_ever():
    study = search.open_study("sqlite://", "x", heartbeat=False)
    study.enqueue_trial({"train.lr": 0.1})
    for round_ in range(search.RETRIES + 1):
        trial = study.ask()
        trial.suggest_float("train.lr", 0, 1)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        search.retry(study, study.trials[trial.number])
        waiting = [t for t in study.trials if t.state.name == "WAITING"]
        assert len(waiting) == (round_ < search.RETRIES)
        assert [trials.origin(t) for t in waiting] == [0] * len(waiting)
    assert [t.number for t in counted(study)] == [search.RETRIES]
