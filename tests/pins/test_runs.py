"""Runs and exported folders that version 0.1 wrote: they load, score, write and go on as they did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import old
import pinned
import pytest
import torch
import yaml
from pinned import RUNS, facts, read, run_cli
from safetensors.torch import load_file

import inn

NEAR = 1e-6 if read("fresh")["environment"] == pinned.environment() else 1e-3
"""Of numbers that training tells; processors of other makers sum in another order, and that adds up."""
SAME = {"rtol": 1e-5, "atol": max(1e-5, NEAR)}
"""For weights after some steps: processors round differently, and AdamW makes much of little."""


def close(now, then) -> None:
    """Assert that plain data is the same, numbers but for rounding."""
    if isinstance(then, dict):
        assert set(then) <= set(now)
        for name in then:
            close(now[name], then[name])
    elif isinstance(then, list):
        assert len(now) == len(then)
        for one, other in zip(now, then, strict=True):
            close(one, other)
    elif isinstance(then, float):
        assert now == pytest.approx(then, rel=NEAR, abs=NEAR / 100)
    else:
        assert now == then


def same_weights(now: dict[str, torch.Tensor], then: dict[str, torch.Tensor]) -> None:
    assert set(now) == set(then)
    for name, t in then.items():
        torch.testing.assert_close(now[name], t, **SAME, msg=lambda text, name=name: f"{name}: {text}")


def stored(run: Path) -> dict[str, torch.Tensor]:
    """The weights of a run's last checkpoint as they are in the file, whatever a model would make of them."""
    return load_file(pinned.last_checkpoint(run) / "model.safetensors")


@pytest.mark.parametrize("run", RUNS)
def test_an_old_run_loads(run, desk):
    model = inn.load(f"runs/{run}")
    then = stored(desk / "runs" / run)
    assert then.keys() <= set(map(old.name_of, model.state_dict()))
    for name, t in pinned.weights(desk / "runs" / run).items():
        if name in then:
            assert torch.equal(t, then[name])
    assert not model.training
    assert (model.experience is not None) == (run == "inn")


@pytest.mark.parametrize("run", RUNS)
def test_an_old_run_scores_and_writes_as_it_did(run, desk):
    close(pinned.answers(run), read("answers")[run])


@pytest.mark.parametrize("run", RUNS)
def test_training_comes_to_the_same(run, desk):
    """The recipe again: every logged number, the weights at the end, and the files of a run."""
    result = run_cli("train", *pinned.recipe_of(run), "--run", f"runs/again-{run}")
    assert result.code == 0, result
    now, then = desk / "runs" / f"again-{run}", desk / "runs" / run
    lines = [{k: v for k, v in line.items() if not k.startswith("penalty.")} for line in pinned.metrics(now)]
    close(lines, pinned.metrics(then))  # penalties were not logged by name
    same_weights(stored(now), stored(then))
    assert pinned.last_checkpoint(now).name == pinned.last_checkpoint(then).name
    for name in ("vocabulary.json", "samples.txt", "checkpoints/best.json"):
        assert (now / name).is_file()
    assert (now / "vocabulary.json").read_bytes() == (then / "vocabulary.json").read_bytes()
    assert (now / "experience.safetensors").is_file() == (then / "experience.safetensors").is_file()
    old, new = (json.loads((path / "summary.json").read_text(encoding="utf-8")) for path in (then, now))
    assert set(old) <= set(new)
    assert new["data"] == old["data"]
    assert pinned.differences(old["config"]["model"], new["config"]["model"]) == {}


def test_what_a_run_recalls_of_its_text_is_the_same(desk):
    run_cli("train", *pinned.recipe_of("inn"), "--run", "runs/experienced", "--train.symbols", 64)
    now, then = (load_file(desk / "runs" / run / "experience.safetensors") for run in ("experienced", "inn"))
    assert now.keys() == then.keys()
    for name in then:
        assert torch.equal(now[name], then[name])


def test_a_stopped_run_goes_on_to_where_it_would_have_come(desk):
    shutil.copytree("runs/stopped", "runs/resumed")
    assert json.loads(Path("runs/resumed/summary.json").read_text())["status"] == "stopped"
    summary = facts("train", "--resume", "runs/resumed")
    assert (summary["status"], summary["step"]) == ("finished", 20)
    close(pinned.metrics(desk / "runs" / "resumed"), pinned.metrics(desk / "runs" / "inn"))
    same_weights(stored(desk / "runs" / "resumed"), stored(desk / "runs" / "inn"))
    for part in ("optimizer", "state"):
        now, then = (
            load_file(pinned.last_checkpoint(desk / "runs" / run) / f"{part}.safetensors") for run in ("resumed", "inn")
        )
        same_weights(now, then)


def test_a_run_goes_on_from_the_weights_of_an_old_one(desk):
    more = ["--from", "runs/paper", "--run", "runs/more", "--train.symbols", "64"]
    summary = facts("train", *more)
    assert summary["status"] == "finished"
    assert summary["step"] == 1


def test_a_run_from_before_recall_has_none(desk):
    """Version 0.1.0 wrote every field of a model, and knew none of recall's."""
    shutil.copytree("runs/paper", "runs/older")
    path = desk / "runs" / "older" / "config.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["model"] = {name: value for name, value in tree["model"].items() if not name.startswith("recall")}
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    model = inn.load("runs/older")
    assert model.config.recall.kind == "none"
    same_weights(dict(model.state_dict()), dict(inn.load("runs/paper").state_dict()))


@pytest.mark.parametrize("run", ["inn", "mamba-stack"])
def test_an_exported_folder_is_the_run(run, desk):
    exported, ours = inn.load(f"exported/{run}"), inn.load(f"runs/{run}")
    same_weights(dict(exported.state_dict()), dict(ours.state_dict()))
    assert exported.vocabulary == ours.vocabulary
    assert (exported.experience is not None) == (run == "inn")
    written = facts("generate", f"exported/{run}", "--tokens", 40, "--seed", 3, "--prompt", pinned.PROMPT)
    assert written["text"] == read("answers")[run]["text"]


@pytest.mark.parametrize("run", ["inn", "mamba-stack"])
def test_transformers_opens_an_exported_folder(run, desk):
    logits = load_file(pinned.HERE / "exported.safetensors")[run]
    torch.testing.assert_close(pinned.exported_logits(desk / "exported" / run), logits, **SAME)


@pytest.mark.parametrize("run", ["inn", "mamba-stack"])
def test_an_export_today_is_the_folder_of_then(run, desk):
    assert run_cli("export", f"runs/{run}", f"exported/again-{run}").code == 0
    now, then = desk / "exported" / f"again-{run}", desk / "exported" / run
    assert {p.name for p in then.iterdir()} - {"__pycache__"} <= {p.name for p in now.iterdir()}
    same_weights(load_file(now / "model.safetensors"), load_file(then / "model.safetensors"))
    old, new = (json.loads((path / "config.json").read_text(encoding="utf-8")) for path in (then, now))
    assert {name: new[name] for name in ("model_type", "auto_map", "architectures")} == {
        name: old[name] for name in ("model_type", "auto_map", "architectures")
    }
    assert pinned.differences(old["inn"], new["inn"]) == {}


@pytest.mark.slow
def test_an_exported_folder_opens_itself_where_its_code_is_trusted(desk, tmp_path):
    code = (
        "import torch\n"
        "from safetensors.torch import save_file\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "from inn.ops import use_backend\n"
        "found = {}\n"
        "for name in ('inn', 'mamba-stack'):\n"
        "    model = AutoModelForCausalLM.from_pretrained(f'exported/{name}', trust_remote_code=True)\n"
        "    tokenizer = AutoTokenizer.from_pretrained(f'exported/{name}', trust_remote_code=True)\n"
        "    with torch.no_grad(), use_backend('reference'):\n"
        f"        found[name] = model(**tokenizer({pinned.PROMPT!r}, return_tensors='pt')).logits.contiguous()\n"
        f"save_file(found, {str(tmp_path / 'logits.safetensors')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environ(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    then = load_file(pinned.HERE / "exported.safetensors")
    for name, logits in load_file(tmp_path / "logits.safetensors").items():
        torch.testing.assert_close(logits, then[name], **SAME)


def environ(home: Path) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
