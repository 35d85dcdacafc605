"""Files that a person, a tool or a stranger has touched: refused in a sentence that names them, or the difference."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import inn
from inn.cli.info import amounts
from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.config.settings import resolve
from inn.data.shards import prepare_shards
from inn.export.base import export
from inn.inference.coding import text as coding
from inn.inference.coding.text import compress_text, decompress_text, stored
from inn.models.build import build_model
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.runs.history import history
from inn.runs.listing import draw_curves, list_runs
from inn.system.errors import InputError
from inn.training import building

DEEP = "[" * 100_000
MANY = "1" * 5000


@pytest.fixture
def run(kept_run, tmp_path) -> Path:
    return Path(shutil.copytree(kept_run, tmp_path / "run"))


@pytest.fixture
def folder(kept_folder, tmp_path) -> Path:
    return Path(shutil.copytree(kept_folder, tmp_path / "folder"))


def without_checksums(folder: Path) -> None:
    """As earlier versions exported."""
    (folder / "checksums.json").unlink()


def zeros(path: Path) -> None:
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack("<Q", content[:8])
    content[8 + start : 8 + start + 2000] = bytes(2000)
    path.write_bytes(content)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)


def retyped(dtype: torch.dtype) -> Callable[[Path], None]:
    return lambda path: save_file({name: t.to(dtype) for name, t in load_file(path).items()}, path)


def spoilt(value: float) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        tensors = load_file(path)
        next(t for t in tensors.values() if t.is_floating_point()).view(-1)[0] = value
        save_file(tensors, path)

    return spoil


@pytest.mark.parametrize("damage", [zeros, flipped, retyped(torch.int64), retyped(torch.bool), spoilt(float("nan"))])
def test_weights_of_an_exported_folder(call, folder, damage):
    damage(folder / "model.safetensors")
    assert str(folder) in call("generate", folder, "--tokens", 2).sentence()


@pytest.mark.parametrize("damage", [retyped(torch.int64), retyped(torch.bool), spoilt(float("nan"))])
def test_weights_of_a_folder_of_an_earlier_version(call, folder, damage):
    without_checksums(folder)
    assert call("generate", folder, "--tokens", 2).code == 0
    damage(folder / "model.safetensors")
    assert str(folder) in call("generate", folder, "--tokens", 2).sentence()


def test_a_weight_of_an_exponent_too_many_is_no_traceback(call, folder):
    without_checksums(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({name: t * 1e36 if t.is_floating_point() else t for name, t in tensors.items()}, path)
    call("generate", folder, "--tokens", 2, "--seed", 1).sentence()


@pytest.mark.parametrize("name", ["vocabulary.json", "experience.safetensors"])
def test_what_stands_beside_the_weights_belongs_to_them(call, folder, name):
    if name == "vocabulary.json":
        tree = json.loads((folder / name).read_text())
        tree["symbols"] = tree["symbols"][:-1] + "~"
        (folder / name).write_text(json.dumps(tree))
    else:
        flipped(folder / name)
    said = call("generate", folder, "--tokens", 2).sentence()
    assert name in said
    assert "checksums.json" in said
    without_checksums(folder)  # as the sentence says, where the change is meant
    assert call("generate", folder, "--tokens", 2).code == 0


def test_a_folder_that_transformers_writes_over_stays_one(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.inn.norm.weight.mul_(1.5)
    model.save_pretrained(folder)
    assert torch.equal(inn.load(folder).norm.weight, model.inn.norm.weight)


def fields_with(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tree = json.loads((folder / "config.json").read_text())
        tree["inn"].update(changes)
        (folder / "config.json").write_text(json.dumps(tree))

    return change


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": None},
        {"kind": [8]},
        {"kind": {}},
        {"width": 8.0},
        {"width": [8]},
        {"width": "8"},
        {"width": None},
        {"width": float("nan")},
        {"width": True},
        {"width": 10**7},
        {"width": 10**30},
        {"rounds": 10**8},
        {"neurons": 10**12},
        {"vocab": 10**9},
        {"recall": "abc"},
        {"recall": [10**40]},
        {"recall": {"a": 1}},
        {"memory": {"kind": "mamba", "state": 10**9}},
        {"memory": {"kind": "mamba", "state": "4"}},
        {"memory": {"kind": ["mamba"]}},
        {"memory": 5},
        {"memory": None},
        {"router": {"kind": "attention", "heads": None}},
        {"router": {}},
        {"population": 5},
        {"population": [5]},
        {"population": [{"neurons": True}]},
        {"dropout": "0.1"},
        {"dropout": float("inf")},
        {"tied": "true"},
        {"norm": 3},
        {"nothing": 1},
    ],
    ids=str,
)
def test_settings_of_an_exported_folder(folder, changes):
    without_checksums(folder)
    fields_with(**changes)(folder)
    with pytest.raises(InputError) as error:
        inn.load(folder)
    assert str(folder) in str(error.value)


def test_settings_that_change_what_is_computed_and_no_shape_are_refused(call, folder):
    fields_with(forget=0.5)(folder)
    assert "checksums.json" in call("generate", folder, "--tokens", 2).sentence()


@pytest.mark.parametrize(
    "index",
    ['{"weight_map": ["a"]}', "null", "[]", "{}", DEEP, '{"weight_map": {"a": 5}}', '{"weight_map": {"a": null}}']
    + [
        json.dumps({"weight_map": {"a": name}}) for name in ("/etc/passwd", "../x.safetensors", "..", "a/b.safetensors")
    ],
)
def test_an_index_of_shards(folder, index):
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json"):
        inn.load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocabulary.json", "experience.safetensors"])
def test_a_pipe_in_place_of_a_file_does_not_hang(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError):
        inn.load(folder)


SETTINGS = {
    "model": [None, 5, [], "x", {"kind": None}],
    "data": [None, [1]],
    "train": [None, "x"],
    "model.width": ["8", None, 8.5, 2**70, 10**7],
    "model.dropout": [0.5, "0.1"],
    "model.memory": [None, {"kind": 5}],
    "data.batch": [None, 0, [4], 8],
    "data.corpus": [5, None],
    "data.vocabulary": [["characters"], "words"],
    "train.lr": ["x", "1e-2", -1.0, 0.5],
    "train.seed": [10**23, "1", 7],
    "train.objective": [{"kind": None}, 3],
    "train.threads": [100_000],
}


@pytest.mark.parametrize("name, value", [(n, v) for n, values in SETTINGS.items() for v in values], ids=str)
def test_settings_of_a_run(run, name, value):
    tree = yaml.safe_load((run / "config.yaml").read_text())
    *place, field = name.split(".")
    part = tree[place[0]] if place else tree
    part[field] = value
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(InputError, match=name.split(".")[-1]):
        building.open_run(None, run, resume=True)
    if name.startswith("model"):
        with pytest.raises(InputError):
            inn.load(run)


def test_a_field_that_is_missing_and_one_that_is_too_many(call, run):
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("  lr: 0.003\n", "  lr: 0.003\n  speed: 2\n"))
    assert "train.speed" in call("train", "--resume", run).sentence()
    (run / "config.yaml").write_text(text.replace("  dropout: 0.1\n", ""))
    assert "model.dropout is 0.0, and was 0.1" in call("train", "--resume", run).sentence()
    assert "model.dropout" in call("generate", run, "--tokens", 2).sentence()


def test_what_a_person_may_change_is_said(call, run, text_file):
    moved = run.parent / "moved.txt"
    shutil.copy(text_file, moved)
    path = run / "config.yaml"
    path.write_text(path.read_text().replace(str(text_file), str(moved)).replace("log_every: 1\n", "log_every: 5\n"))
    answer = call("train", "--resume", run)
    assert answer.code == 0
    lines = [line for line in Run(run).metrics() if line["event"] == "warning"]
    assert [line["message"].split(" is ")[0] for line in lines[-2:]] == ["data.corpus", "train.log_every"]


def test_another_text_under_the_same_name(call, run, text_file):
    moved = run.parent / "moved.txt"
    moved.write_text(text_file.read_text() + "the cat ran on\n" * 50)
    path = run / "config.yaml"
    path.write_text(path.read_text().replace(str(text_file), str(moved)))
    assert "sha256 differs" in call("eval", run, "--limit", 50).sentence()


def test_the_vocabulary_and_the_experience_of_a_run(call, run):
    tree = json.loads((run / "vocabulary.json").read_text())
    (run / "vocabulary.json").write_text(json.dumps({**tree, "symbols": tree["symbols"][:-1] + "~"}))
    assert "vocabulary.json" in call("generate", run, "--tokens", 2).sentence()
    (run / "vocabulary.json").write_text(json.dumps(tree))
    assert call("generate", run, "--tokens", 2).code == 0
    flipped(run / "experience.safetensors")
    assert "remove it to do without" in call("generate", run, "--tokens", 2).sentence()
    (run / "experience.safetensors").unlink()
    assert call("generate", run, "--tokens", 2).code == 0


@pytest.mark.parametrize("name", ["config.yaml", "vocabulary.json", "checkpoints/best.json", "summary.json"])
@pytest.mark.parametrize("content", [DEEP, "", "[]", "null", MANY, f'{{"step": {MANY}}}', "\ud800", "&a [*a]"])
def test_one_bad_file_is_named_and_hides_no_other_run(call, run, whole, tmp_path, name, content):
    (run / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    shutil.copytree(whole, tmp_path / "other")
    answer = call("runs", tmp_path, "--json")
    assert answer.code == 0
    listing = json.loads(answer.out)
    assert [one["name"] for one in listing["runs"]] == ["other"]
    assert Path(name).name in listing["damaged"]["run"]
    assert len(listing["damaged"]["run"]) <= 300
    with pytest.raises(InputError):
        inn.load(run)


@pytest.mark.parametrize("line", ["not JSON", "[]", DEEP, f'{{"step": {MANY}}}', '{"bits": NaN}'])
def test_a_bad_line_of_metrics_is_named(run, line):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:3], line + "\n", *lines[3:]]))
    with pytest.raises(InputError, match="line 4 of"):
        history(Run(run))


def test_folders_of_checkpoints_with_other_digits_are_ignored(call, run):
    (run / "checkpoints" / "step-٠٠٠٠٠٠٩٩").mkdir()
    (run / "checkpoints" / "step-99").mkdir()
    assert checkpoints.steps(run / "checkpoints")[-1] == 30
    assert call("generate", run, "--tokens", 2).code == 0
    assert call("train", "--resume", run).code == 0


@pytest.mark.parametrize(
    "recipe",
    [
        "model: {preset: [paper]}",
        "model: {kind: [lstm]}",
        "model: {width: [1]}",
        "model: {memory: {kind: {a: 1}}}",
        "model: {router: 5}",
        f"model: {{width: {MANY}}}",
        f"train: {{symbols: {MANY}}}",
        "model: {width: 1000000000, neurons: 100000}",
        "model: {rounds: 100000, width: 4096}",
        "model: {memory: {kind: mamba, conv: 1000000000}}",
        "model: {recall: {kind: last, slots: 100000000000}}",
        "model: {recall: {contexts: [2]}}",
        "model: {recall: {kind: last, contexts: 2}}",
        "model: {population: [{neurons: x}]}",
        "vocab: []",
        "5: 3",
        "model: {5: 3}",
        "train: {? [a] : 3}",
        "train: {lr: 2020-13-45}",
        "train: {lr: 2020-01-01}",
        "train: {lr: !!python/name:os.system }",
        "train: {lr: !!timestamp x}",
        f"model: {DEEP}",
        "".join(" " * i + "a:\n" for i in range(2000)),
        "data: &a {corpus: *a}",
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "\n".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi")),
        "models: 3",
        "models: {lstm: 5}",
        "\x00",
    ],
)
def test_a_recipe_that_cannot_be(tmp_path, recipe):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)
    with pytest.raises(InputError):
        amounts(resolve(str(path)))


@pytest.mark.parametrize(
    "settings",
    [
        ["--train.threads", 100_000],
        ["--train.seed", 10**23],
        ["--train.lr_floor", -5],
        ["--train.lr_floor", "nan"],
        ["--train.clip", "nan"],
        ["--model.recall.slots", 10**11],
        ["--model.recall.slots", 3],
        ["--model.rounds", 10**5, "--model.width", 512],
        ["--model.memory.conv", 10**9],
        ["--model.parameters", "9" * 40],
        ["--model.recall", DEEP],
        ["--run", ""],
        ["--data.batch", 10**9],
    ],
    ids=lambda s: " ".join(map(str, s))[:40],
)
def test_settings_that_cannot_be(call, tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    call("train", "demo", *settings).sentence()
    assert list(tmp_path.iterdir()) == []


def test_a_model_beyond_the_machine_is_built_where_that_is_asked_for(monkeypatch):
    monkeypatch.setattr("inn.models.build.machine_memory", lambda: 10**6)
    config = model_config(vocab=256, neurons=2, width=64, rounds=1, slots=1 << 20)
    with pytest.raises(InputError, match=r"INN_ANY_SIZE=1 to go on all the same"):
        build_model(config)
    monkeypatch.setenv("INN_ANY_SIZE", "1")
    assert build_model(config).num_parameters > 10**5


@pytest.mark.parametrize(
    "make, values",
    [
        *((TrainConfig, {"lr": "1e-3"}), (TrainConfig, {"keep": True}), (DataConfig, {"batch": 2.0})),
        *((inn.INN, {"width": "8"}), (inn.INN, {"width": 8.0}), (inn.INN, {"tied": 1})),
    ],
)
def test_fields_are_typed_whoever_gives_them(make, values):
    with pytest.raises(InputError, match=f"{next(iter(values))} expects"):
        make(**values)


def test_sections_of_a_configuration_hold_fields():
    with pytest.raises(InputError, match="section 'model' of the configuration must hold fields"):
        RunConfig.from_dict({"model": 5})


def test_a_sentence_is_of_one_line_and_not_long():
    said = str(InputError(f"thing '{'x' * 10**6}' and \x1b[31m {'y ' * 1000}\n; choose another"))
    assert len(said) <= 300
    assert said.isprintable()
    assert said.endswith("; choose another")


FULL = "Error while serializing: I/O error: No space left on device (os error 28)"


@pytest.mark.parametrize("error", [SafetensorError(FULL), RuntimeError(FULL), OSError(28, "No space left on device")])
def test_what_is_written_beside_the_trainer_on_a_full_disk(tmp_path, kept_run, monkeypatch, error):
    def full(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("inn.hf.folder.experience_bytes", full)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(InputError, match=r"no space left on the device to write '.*folder'; free some"):
        export(kept_run, tmp_path / "folder")
    with pytest.raises(InputError, match="no space left on the device"):
        draw_curves(list_runs(kept_run.parent).runs, tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_shards_on_a_full_disk_leave_no_folder(tmp_path, text_file, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("inn.data.shards._vocabulary", full)
    with pytest.raises((InputError, OSError)):
        prepare_shards(f"file:{text_file}", tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_text_that_would_become_longer_is_stored(kept_run):
    model = inn.load(kept_run)
    text = b"e g a t\n" * 20
    packed = stored(compress_text(model, text, streams=160), text)
    assert len(packed.content) <= len(text) + 64
    assert decompress_text(model, packed.content) == text


@pytest.mark.parametrize("symbols", [10**7, 10**13, 2**64 - 1])
def test_symbols_that_a_file_has_no_bytes_for(kept_run, symbols):
    model = inn.load(kept_run)
    with coding._alike(model):
        fields = coding.model_digest(model), coding._Predictions(model, 1).rounding(), bytes(16), 1, symbols
    header = coding._HEADER.pack(coding.MAGIC, coding.FORMAT, *fields)
    with pytest.raises(InputError, match=r"it ends after \d+ of|more than this machine's"):
        decompress_text(model, header + coding._CHECK.pack(zlib.crc32(b"", zlib.crc32(header))))


def test_a_corpus_that_is_no_text(call, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in call("train", "demo", "--data.corpus", f"file:{tmp_path / 'pipe'}").sentence()
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"a text " * 100))
    assert "is compressed (gzip)" in call("train", "demo", "--data.corpus", f"file:{tmp_path / 'text.gz'}").sentence()


def test_advice_is_of_the_command_at_hand(call, kept_run, tmp_path):
    (tmp_path / "text.txt").write_text("\u00fc" * 300)
    corpus = f"file:{tmp_path / 'text.txt'}"
    said = call("train", "--from", kept_run, "--run", tmp_path / "new", "--data.corpus", corpus).sentence()
    assert "(U+00FC), at position 0; take it out of the text" in said
    assert "--unknown skip" in call("generate", kept_run, "--prompt", "\u00fc").sentence()
