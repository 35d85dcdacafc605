"""One model, several processes: the curve of one process, on any number of them, whatever happens to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from inn.inference.evaluate import evaluate
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.runs.load import load
from inn.system.errors import InputError
from inn.training.parallel.group import Group
from inn.training.trainer import fit

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("parallel, world", [("ddp", 2), ("ddp", 4), ("fsdp", 2), ("fsdp", 4)])
def test_the_losses_are_those_of_one_process(groups, settings, alone, same_curve, tmp_path, parallel, world):
    run = tmp_path / "run"
    sampled = 10 if world == 2 else 0  # of shards a sample is most of the time
    answer = groups(settings=settings(parallel=parallel, sample_every=sampled), run=str(run), world=world)
    same_curve(alone, run)
    one, many = Run(alone).summary(), answer["told"][0]["summary"]
    assert many["symbols"] == one["symbols"]
    assert many["parameters"] == one["parameters"]
    assert many == Run(run).summary()
    if parallel == "fsdp":
        held = answer["told"][0]["local"].values()
        assert all(mine == pytest.approx(whole / world, abs=20) for mine, whole in held)
        assert sum(mine for mine, _ in held) < 1.1 * one["parameters"] / world
    # What was written is a run like any other.
    model = load(run)
    ours, theirs = model.state_dict(), load(alone).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=1e-4) for name in ours)
    assert evaluate(model, torch.arange(50).numpy() % model.config.vocab).bits < 10
    assert len("".join(model.generate(tokens=5, seed=0))) == 5


def test_processes_wait_for_the_last(groups, settings, tmp_path):
    told = groups(settings=settings(), run=str(tmp_path / "run"), world=2, late=1)["told"]
    assert min(one["passed"] for one in told) >= max(one["came"] for one in told)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_run_goes_on_in_another_number_of_processes(groups, settings, alone, same_curve, tmp_path, parallel):
    run, config = tmp_path / "run", settings(parallel=parallel)
    for world, stop in ((2, 4), (4, 9), (1, None)):
        answer = groups(settings=config, run=str(run), world=world, stop=stop, resume=world != 2)
        summaries = [told["summary"] for told in answer["told"]]
        assert {s["step"] for s in summaries} == {stop or 15}  # one was told to stop, and all stopped
        assert {s["status"] for s in summaries} == {"stopped" if stop else "finished"}
        carried = checkpoints.load(run / "checkpoints" / checkpoints.name_of(stop or 15)).tensors["state"]
        assert {t.shape[0] for t in carried.values()} == {8}  # the state of all streams
    same_curve(alone, run)
    last = checkpoints.load(run / "checkpoints" / "step-00000015")
    whole = checkpoints.load(alone / "checkpoints" / "step-00000015")
    assert torch.equal(last.tensors["rng"]["cpu"], whole.tensors["rng"]["cpu"])
    assert torch.equal(last.tensors["state"]["v1/-1/recent"], whole.tensors["state"]["v1/-1/recent"])
    assert torch.equal(last.tensors["state"]["v1/-1/table"], whole.tensors["state"]["v1/-1/table"])


def test_other_models_and_options(groups, settings, same_curve, tmp_path):
    """Random windows, rounds that share their weights and are computed twice, gates that cost something."""
    fields = {"share_rounds": True, "gate": "soft", "gate_penalty": 0.1, "router": "attention", "heads": 2}
    for name, world, parallel in (("one", 1, "ddp"), ("two", 2, "ddp"), ("shards", 2, "fsdp")):
        config = settings(model=dict(fields), data={"order": "random"}, parallel=parallel, checkpoint_rounds=True)
        groups(settings=config, run=str(tmp_path / name), world=world)
    same_curve(tmp_path / "one", tmp_path / "two")
    same_curve(tmp_path / "one", tmp_path / "shards")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_accumulated_gradients_are_sent_once(groups, settings, alone, same_curve, tmp_path, parallel):
    run = tmp_path / "run"
    answer = groups(settings=settings(parallel=parallel, accumulate=2), run=str(run), world=2)
    sent = answer["told"][0]["traffic"]
    parameters = Run(run).summary()["parameters"]  # type: ignore[index]
    once = "all-reduce" if parallel == "ddp" else "reduce-scatter"
    assert sent[once] == pytest.approx(15 * 4 * parameters, rel=0.01)
    same_curve(alone, run)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_bfloat16(groups, settings, same_curve, tmp_path, parallel):
    config = settings(parallel=parallel, dtype="bfloat16")
    groups(settings=config, run=str(tmp_path / "one"), world=1)
    groups(settings=config, run=str(tmp_path / "two"), world=2)
    same_curve(tmp_path / "one", tmp_path / "two", tolerance=3e-3)
    last = checkpoints.load(tmp_path / "two" / "checkpoints" / "step-00000015")
    assert all(t.dtype != torch.bfloat16 for part in last.tensors.values() for t in part.values())


def test_muon_and_averages_in_copies_and_not_in_shards(groups, settings, same_curve, tmp_path):
    for name, world, stop in (("one", 1, None), ("many", 2, 7), ("many", 4, None)):
        config = settings(optimizer="muon", ema=0.9)
        groups(settings=config, run=str(tmp_path / name), world=world, stop=stop, resume=world == 4)
    same_curve(tmp_path / "one", tmp_path / "many", tolerance=1e-4)
    for option in ({"optimizer": "muon"}, {"ema": 0.9}):
        config = settings(parallel="fsdp", **option)
        answer = groups(settings=config, run=str(tmp_path / "shards"), world=2, fails=True)
        assert all("whole weights in every process; set train.parallel ddp" in told["error"] for told in answer["told"])
    assert not (tmp_path / "shards").exists()


def test_a_damaged_shard_is_noticed(groups, settings, alone, same_curve, tmp_path):
    run, config = tmp_path / "run", settings(parallel="fsdp")
    groups(settings=config, run=str(run), world=2, stop=9)
    newest = run / "checkpoints" / "step-00000009"
    piece = sorted((newest / "optimizer").iterdir())[1]
    content = bytearray(piece.read_bytes())
    content[-5] ^= 1
    piece.write_bytes(content)
    with pytest.raises(checkpoints.DamagedCheckpoint, match=piece.name):
        checkpoints.load(newest)
    (run / "checkpoints" / ".step-00000012.tmp").mkdir()  # and another that was half written
    answer = groups(settings=config, run=str(run), world=2, resume=True)
    assert any("damaged" in line for line in answer["told"][0]["warnings"])
    same_curve(alone, run)
    assert not list((run / "checkpoints").glob(".*"))


def test_a_broken_number_ends_all_processes(groups, settings, tmp_path):
    config = settings(lr=1e8, log_every=50)
    answer = groups(settings=config, run=str(tmp_path / "run"), world=2, fails=True)
    assert answer["codes"] == [1, 1]
    assert all("diverged" in told["error"] for told in answer["told"]), answer
    assert Run(tmp_path / "run").summary()["status"] == "diverged"  # type: ignore[index]


def test_a_batch_that_cannot_be_shared_out(groups, settings, tmp_path):
    config = settings(data={"batch": 6})
    answer = groups(settings=config, run=str(tmp_path / "run"), world=4, fails=True)
    assert all("data.batch to a multiple of 4" in told["error"] for told in answer["told"])
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="cannot be shared out"):
        Group(0, 4).rows(6)


def test_more_passes_than_a_process_has_rows(groups, settings, tmp_path):
    answer = groups(settings=settings(accumulate=3), run=str(tmp_path / "run"), world=4, fails=True)
    assert all("accumulate 3 is more than" in told["error"] for told in answer["told"])
    assert not (tmp_path / "run").exists()


KILLED = """
import os, signal, sys
from inn.cli.main import main
from inn.training.parallel.multi import MultiProcess
begin = MultiProcess.begin_step
def dying(self, step, batch):
    if step == 8 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and self.group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    begin(self, step, batch)
MultiProcess.begin_step = dying
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.loopback
def test_torchrun_starts_a_killed_process_again_and_the_run_goes_on(settings, alone, same_curve, tmp_path):
    script, run, config = tmp_path / "dying.py", tmp_path / "run", settings()
    script.write_text(KILLED)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, "--", str(script), "train", config, "--run", str(run)],
        env=environ, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "from step 5" in done.stdout
    assert done.stdout.count("now try") == 1  # one process prints
    same_curve(alone, run)


def test_a_plain_run_belongs_to_no_launcher(settings, tmp_path, monkeypatch, capsys):
    from inn.cli.main import main
    from inn.config.run import RunConfig
    from inn.training.parallel.group import launcher_id

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert launcher_id() == f"process-{os.getppid()}"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
    config = settings()
    tree = yaml.safe_load(Path(config).read_text())
    fit(RunConfig.from_dict(tree), tmp_path / "theirs")
    assert Run.was_created_by("7", tmp_path / "theirs")
    assert not Run.was_created_by("8", tmp_path / "theirs")
    # Another launcher's run is not taken over, even when it is started again.
    before = (tmp_path / "theirs" / "metrics.jsonl").read_bytes()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "8")
    for name, value in {"TORCHELASTIC_RESTART_COUNT": "1", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(["train", config, "--run", str(tmp_path / "theirs")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "theirs" / "metrics.jsonl").read_bytes() == before
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert launcher_id() is None
    assert not Run.was_created_by(None, tmp_path / "theirs")
    assert json.loads((tmp_path / "theirs" / "summary.json").read_text())["status"] == "finished"
