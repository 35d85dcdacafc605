"""Disks that are full and files that rot."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from inn.runs import checkpoint as checkpoints
from inn.runs import directory as run_module
from inn.runs.directory import Run
from inn.system import files
from inn.system.errors import InputError
from inn.training import events
from inn.training.trainer import fit


def folder_of(run: Path) -> Path:
    return run / "checkpoints"


def weights(run: Path) -> bytes:
    newest = checkpoints.name_of(checkpoints.steps(folder_of(run))[-1])
    return (folder_of(run) / newest / "model.safetensors").read_bytes()


def full_after(monkeypatch, module, name: str, writes: int) -> None:
    """Let a write function fail after `writes` calls as a full disk does, half of the content written."""
    real, left = getattr(module, name), [writes]

    def write(path: Path, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, content)

    monkeypatch.setattr(module, name, write)


@pytest.mark.parametrize("writes", [0, 10, 13, 14])  # the first, the first and the last file of the third checkpoint
def test_no_space_for_a_checkpoint(tmp_path, tiny, whole, writes):
    with pytest.MonkeyPatch.context() as patch:
        full_after(patch, checkpoints, "write_synced", writes)
        with pytest.raises(InputError, match=r"no space left on the device to write '.*step-0000000\d'.*intact"):
            fit(tiny("lstm"), tmp_path / "run")
    kept = checkpoints.steps(folder_of(tmp_path / "run"))
    assert kept == [2, 4][: writes // 5]
    for step in kept:
        checkpoints.load(folder_of(tmp_path / "run") / checkpoints.name_of(step))
    assert not [p for p in folder_of(tmp_path / "run").iterdir() if p.name.startswith(".")]
    fit(None, tmp_path / "run", resume=True)  # there is space again
    assert weights(tmp_path / "run") == weights(whole)


def test_no_space_for_the_pointer_to_the_best(tmp_path, tiny, monkeypatch):
    full_after(monkeypatch, files, "write_synced", 0)  # best.json is the first small file after the run's creation
    monkeypatch.setattr(run_module, "write_synced", lambda path, content: path.write_bytes(content))
    with pytest.raises(InputError, match=r"no space left on the device to write '.*best\.json'"):
        fit(tiny("lstm"), tmp_path / "run")
    assert checkpoints.load_latest(folder_of(tmp_path / "run"))[0] is not None


def test_no_space_for_a_new_run(tmp_path, tiny, monkeypatch):
    full_after(monkeypatch, run_module, "write_synced", 1)
    with pytest.raises(InputError, match="no space left on the device"):
        fit(tiny("lstm"), tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == []


def test_no_space_for_a_line_of_metrics(tmp_path, tiny, whole):
    def fill(event: events.Event) -> None:
        if isinstance(event, events.Progress) and event.step == 7:
            (tmp_path / "run" / "metrics.jsonl").rename(tmp_path / "aside")
            (tmp_path / "run" / "metrics.jsonl").symlink_to("/dev/full")

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(InputError, match=r"no space left on the device to write '.*metrics\.jsonl'"):
        fit(tiny("lstm"), tmp_path / "run", report=fill)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    (tmp_path / "aside").rename(tmp_path / "run" / "metrics.jsonl")
    fit(None, tmp_path / "run", resume=True)
    assert weights(tmp_path / "run") == weights(whole)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def foreign(path: Path) -> None:
    path.write_bytes(b'{"some": "other program\'s"}')


@pytest.mark.parametrize(
    "damage, name",
    [
        (truncate, "model.safetensors"),
        (flip, "optimizer.safetensors"),
        (Path.unlink, "state.safetensors"),
        (truncate, "rng.safetensors"),
        (foreign, "checkpoint.json"),
        (truncate, "checkpoint.json"),
    ],
)
def test_resume_falls_back_to_the_last_good_checkpoint_and_says_so(tmp_path, tiny, whole, damage, name):
    def stop(event: events.Event) -> None:
        if isinstance(event, events.Saved) and event.step == 12:  # which is also the best so far
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny("lstm"), tmp_path / "run", report=stop)
    damage(folder_of(tmp_path / "run") / "step-00000012" / name)
    told: list[events.Event] = []
    fit(None, tmp_path / "run", resume=True, report=told.append)
    notes = [e.message for e in told if isinstance(e, events.Warned)]
    assert len(notes) == 1
    assert f"step-00000012/{name}" in notes[0]
    assert "going on from step 10" in notes[0]
    started = next(e for e in told if isinstance(e, events.Started))
    assert started.step == 10
    assert weights(tmp_path / "run") == weights(whole)
    steps = [line["step"] for line in Run(tmp_path / "run").metrics() if line["event"] == "train"]
    assert steps == list(range(1, 31))


def test_with_no_good_checkpoint_left_resume_says_which_file_and_touches_nothing(tmp_path, tiny):
    fit(tiny("lstm"), tmp_path / "run")
    for step in checkpoints.steps(folder_of(tmp_path / "run")):
        truncate(folder_of(tmp_path / "run") / checkpoints.name_of(step) / "model.safetensors")
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"step-00000030/model\.safetensors.*no good checkpoint is left"):
        fit(None, tmp_path / "run", resume=True)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


def test_a_checkpoint_of_another_model_is_refused(tmp_path, tiny):
    fit(tiny("lstm"), tmp_path / "run")
    fit(tiny("inn"), tmp_path / "other")
    shutil.rmtree(folder_of(tmp_path / "run"))
    shutil.copytree(folder_of(tmp_path / "other"), folder_of(tmp_path / "run"))
    with pytest.raises(InputError, match=r"step-00000030' does not fit the model"):
        fit(None, tmp_path / "run", resume=True)
