from __future__ import annotations

import json
import os

import pytest
import torch
from torch import nn

from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import Checkpoint, DamagedCheckpoint
from inn.system.errors import InputError


def make(step: int) -> Checkpoint:
    tensors = {
        "model": {"w": torch.full((3, 2), float(step)), "empty": torch.zeros(2, 0)},
        "optimizer": {"w/step": torch.tensor(float(step)), "w/exp_avg": torch.rand(3, 2)},
        "state": {"v1/0/ssm": torch.rand(2, 1, 4), "v1/0/place": torch.arange(2)},
        "rng": {"cpu": torch.get_rng_state()},
        "objective": {"mean": torch.randn(2)},
        "raw": {"w": torch.randn(3, 2)},
    }
    return Checkpoint(step, tensors, {"aliases": {}, "progress": {"loss": 0.1 + 0.2, "text": "é"}})


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    saved = make(7)
    path = checkpoints.save(tmp_path, saved)
    assert path.name == "step-00000007"
    assert sorted(p.name for p in path.iterdir()) == [
        "checkpoint.json", "model.safetensors", "objective.safetensors", "optimizer.safetensors", "raw.safetensors",
        "rng.safetensors", "state.safetensors",
    ]  # fmt: skip
    back = checkpoints.load(path)
    assert back.step == 7
    assert back.meta["progress"] == saved.meta["progress"]
    for part, tensors in saved.tensors.items():
        assert back.tensors[part].keys() == tensors.keys()
        for name, t in tensors.items():
            assert back.tensors[part][name].dtype == t.dtype
            assert torch.equal(back.tensors[part][name], t)


def test_an_objective_without_tensors_has_no_file(tmp_path):
    checkpoint = make(7)
    del checkpoint.tensors["objective"]
    path = checkpoints.save(tmp_path, checkpoint)
    assert not (path / "objective.safetensors").exists()
    assert checkpoints.load(path).tensors["objective"] == {}


def test_the_same_content_gives_the_same_bytes(tmp_path):
    torch.manual_seed(0)
    one = make(1)
    a, b = checkpoints.save(tmp_path / "a", one), checkpoints.save(tmp_path / "b", one)
    for file in a.iterdir():
        assert file.read_bytes() == (b / file.name).read_bytes()


def test_only_the_parts_asked_for_are_read(tmp_path):
    path = checkpoints.save(tmp_path, make(1))
    (path / "optimizer.safetensors").unlink()
    assert checkpoints.load(path, ["model"]).tensors.keys() == {"model"}


def test_nothing_is_unpickled(tmp_path):
    path = checkpoints.save(tmp_path, make(1))
    torch.save({"w": torch.zeros(1)}, path / "model.safetensors")
    with pytest.raises(DamagedCheckpoint, match=r"model\.safetensors"):
        checkpoints.load(path)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-3])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def remove(file):
    file.unlink()


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("part", ["checkpoint.json", *(f"{part}.safetensors" for part in checkpoints.PARTS)])
@pytest.mark.parametrize("damage", [truncate, flip, remove, empty])
def test_any_damage_to_any_file_is_noticed_and_the_file_named(tmp_path, part, damage):
    path = checkpoints.save(tmp_path, make(1))
    damage(path / part)
    with pytest.raises(DamagedCheckpoint, match=part.replace(".", r"\.")):
        checkpoints.load(path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "pt"}', "null"])
def test_a_foreign_checkpoint_is_refused(tmp_path, content):
    path = checkpoints.save(tmp_path, make(1))
    (path / "checkpoint.json").write_text(content)
    with pytest.raises(DamagedCheckpoint, match="not a checkpoint of this library"):
        checkpoints.load(path)


def test_the_newest_good_one_is_loaded_and_the_damaged_are_put_aside_and_told(tmp_path):
    for step in (2, 4, 6, 8):
        checkpoints.save(tmp_path, make(step))
    truncate(tmp_path / "step-00000008" / "model.safetensors")
    flip(tmp_path / "step-00000006" / "state.safetensors")
    found, notes = checkpoints.load_latest(tmp_path)
    assert found is not None
    assert found.step == 4
    assert len(notes) == 2
    assert "step-00000008/model.safetensors" in notes[0]
    assert notes[0].endswith("going on from step 4")
    assert checkpoints.steps(tmp_path) == [2, 4]
    assert (tmp_path / "damaged-step-00000008").is_dir()
    assert checkpoints.load_latest(tmp_path)[1] == []


def test_when_none_is_good_the_first_problem_is_told_and_nothing_is_touched(tmp_path):
    assert checkpoints.load_latest(tmp_path) == (None, [])
    for step in (1, 2):
        remove(checkpoints.save(tmp_path, make(step)) / "model.safetensors")
    with pytest.raises(InputError, match=r"step-00000002/model\.safetensors.*no good checkpoint is left"):
        checkpoints.load_latest(tmp_path)
    assert checkpoints.steps(tmp_path) == [1, 2]


def test_a_newer_format_is_no_damage(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, make(1))
    monkeypatch.setattr(checkpoints, "VERSION", 9)
    checkpoints.save(tmp_path, make(2))
    monkeypatch.setattr(checkpoints, "VERSION", 1)
    with pytest.raises(InputError, match=r"format version 9.*upgrade"):
        checkpoints.load_latest(tmp_path)


def test_older_formats_are_migrated_step_by_step(tmp_path, monkeypatch):
    path = checkpoints.save(tmp_path, make(1))

    def rename(old: str, new: str):
        def migrate(checkpoint: Checkpoint) -> Checkpoint:
            checkpoint.tensors["model"][new] = checkpoint.tensors["model"].pop(old)
            return checkpoint

        return migrate

    monkeypatch.setattr(checkpoints, "VERSION", 3)
    monkeypatch.setattr(checkpoints, "MIGRATIONS", {1: rename("w", "v"), 2: rename("v", "u")})
    assert "u" in checkpoints.load(path).tensors["model"]


def test_every_version_has_its_migration():
    assert set(checkpoints.MIGRATIONS) == set(range(1, checkpoints.VERSION))


def test_the_last_k_and_the_best_are_kept(tmp_path):
    for step in range(1, 8):
        checkpoints.save(tmp_path, make(step))
        if step in (1, 3):
            checkpoints.set_best(tmp_path, step, 2.0)
        checkpoints.prune(tmp_path, keep=2)
    assert checkpoints.steps(tmp_path) == [3, 6, 7]
    assert checkpoints.best(tmp_path) == tmp_path / "step-00000003"
    assert json.loads((tmp_path / "best.json").read_text()) == {"step": 3, "validation_bits": 2.0}
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_best_that_is_gone_or_unreadable_is_none(tmp_path):
    assert checkpoints.best(tmp_path) is None
    checkpoints.set_best(tmp_path, 5, 1.0)
    assert checkpoints.best(tmp_path) is None
    (tmp_path / "best.json").write_text("{")
    assert checkpoints.best(tmp_path) is None
    checkpoints.set_best(tmp_path, None)
    assert not (tmp_path / "best.json").exists()


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoints.save(tmp_path, make(1))
    again = make(1)
    again.tensors["model"]["w"].fill_(9)
    checkpoints.save(tmp_path, again)
    assert checkpoints.load(tmp_path / "step-00000001").tensors["model"]["w"].eq(9).all()
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_what_a_killed_process_left_is_swept(tmp_path):
    checkpoints.save(tmp_path, make(1))
    for name in (".step-00000002.tmp", ".step-00000000.trash"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".best.json.tmp").write_text("{")
    checkpoints.load_latest(tmp_path)
    assert os.listdir(tmp_path) == ["step-00000001"]  # noqa: PTH208


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    model = Tied()
    tensors, aliases = checkpoints.pack_model(model)
    assert aliases == {"b.weight": "a.weight"}
    path = checkpoints.save(tmp_path, Checkpoint(1, {"model": tensors}, {"aliases": aliases}))
    other = Tied()
    checkpoints.unpack_model(other, checkpoints.load(path))
    assert torch.equal(other.b.weight, model.a.weight)
    assert other.b.weight is other.a.weight


def test_another_models_checkpoint_is_refused(tmp_path):
    tensors, aliases = checkpoints.pack_model(nn.Linear(2, 3))
    saved = Checkpoint(1, {"model": tensors}, {"aliases": aliases})
    with pytest.raises(InputError, match=r"'here' does not fit the model.*size mismatch"):
        checkpoints.unpack_model(nn.Linear(2, 4), saved, "here")


@pytest.mark.parametrize("fused", [True, False])
def test_an_optimizer_goes_on_where_it_was(fused):
    def make_one():
        torch.manual_seed(1)
        model = nn.Linear(4, 3)
        groups = [{"params": [model.bias], "weight_decay": 0.0}, {"params": [model.weight]}]
        return model, torch.optim.AdamW(groups, lr=0.1, fused=fused)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()

    model, optimizer = make_one()
    step(model, optimizer)
    packed = {name: t.clone() for name, t in checkpoints.pack_optimizer(model, optimizer).items()}
    assert {"weight/exp_avg", "weight/exp_avg_sq", "bias/step"} <= packed.keys()
    weights = {name: t.clone() for name, t in model.state_dict().items()}
    step(model, optimizer)

    other, fresh = make_one()
    other.load_state_dict(weights)
    checkpoints.unpack_optimizer(other, fresh, packed)
    step(other, fresh)
    assert torch.equal(other.weight, model.weight)
    assert torch.equal(other.bias, model.bias)


def test_random_numbers_go_on_where_they_were():
    packed = checkpoints.pack_rng()
    first = torch.rand(5)
    checkpoints.unpack_rng(packed)
    assert torch.equal(torch.rand(5), first)
