"""`inn export`: a folder that is whole, that transformers and `inn.load` open, and that loses no bit on the way."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

import inn
from inn import InputError
from inn.cli.main import main
from inn.export.base import export
from inn.hf import INNForCausalLM
from inn.runs.exported import load_exported


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    export(run, folder := tmp_path_factory.mktemp("export") / "folder")
    return folder


def same(a, b) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def test_transformers_opens_what_inn_exports(run, folder):
    ours = inn.load(run)
    theirs, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    assert same(theirs.inn, ours)
    assert not theirs.training
    assert theirs.inn.head.weight is theirs.inn.embedding.weight
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = ours.vocabulary.decode(ours.vocabulary.encode("def a(b):\n    return", unknown="skip"))
    batch = tokenizer(text, return_tensors="pt")
    assert batch.input_ids[0].tolist() == ours.vocabulary.encode(text).tolist()
    assert torch.equal(theirs(**batch).logits, ours(batch.input_ids)[0])


def test_greedy_text_is_that_of_inn_generate(run, folder, capsys):
    """With the training text recalled, which `inn generate` starts from, and without."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer("the ", return_tensors="pt")
    for fresh in (False, True):
        options = ["--fresh"] if fresh else []
        assert main(["generate", str(run), "--prompt", "the ", "--tokens", "40", "--top-k", "1", *options]) == 0
        cache = None if fresh else model.experience_cache()
        text = model.generate(**prompt, past_key_values=cache, do_sample=False, max_new_tokens=40)
        assert tokenizer.decode(text[0]) + "\n" == capsys.readouterr().out
    assert tokenizer.decode(model.generate(max_new_tokens=3)[0]), "a prompt is not needed"


def test_the_tables_of_the_training_text_are_read_when_asked_for(run, folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.inn.experience is None, "from_pretrained stays light"
    cache = model.experience_cache()
    expected = inn.load(run).experience
    assert all(torch.equal(cache.state[key], t) for key, t in expected.items())
    double = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    cache = double.experience_cache(batch=2)
    assert {t.dtype for t in cache.state.values()} == {torch.float64, torch.int32, torch.int64}
    assert double.generate(torch.tensor([[1], [2]]), past_key_values=cache, max_new_tokens=3).shape == (2, 4)


def test_inn_opens_what_inn_exports(run, folder):
    ours, again = inn.load(run), inn.load(folder)
    assert same(again, ours)
    assert again.config == ours.config
    assert again.vocabulary == ours.vocabulary
    assert all(torch.equal(again.experience[key], t) for key, t in ours.experience.items())
    assert not again.training
    assert "".join(again.generate("the ", 20, seed=1)) == "".join(ours.generate("the ", 20, seed=1))


def test_the_command_line_writes_from_the_folder(run, folder, capsys):
    for path in (run, folder):
        assert main(["generate", str(path), "--prompt", "the ", "--tokens", "30", "--seed", "2"]) == 0
    out = capsys.readouterr().out
    assert out[: len(out) // 2] == out[len(out) // 2 :]


@pytest.mark.parametrize("auto", [AutoModelForCausalLM, AutoModel])
def test_saving_and_loading_loses_no_bit(kind, build, tmp_path, auto):
    """Every tensor is set to a number of its own, so that one that is made anew, or takes another's place, is seen."""
    model = build(kind, dtype=torch.float32)
    with torch.no_grad():
        for i, t in enumerate(dict.fromkeys([*model.parameters(), *model.buffers()])):
            t.fill_(i + 1) if not t.is_floating_point() else t.copy_(torch.rand_like(t) + i)
    model.save_pretrained(tmp_path)
    again, report = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert same(again.inn, model.inn)
    assert (again.inn.head is again.inn.embedding) == (model.inn.head is model.inn.embedding)
    tied = getattr(model.inn.head, "weight", None) is model.inn.embedding.weight
    assert (getattr(again.inn.head, "weight", None) is again.inn.embedding.weight) == tied
    again.save_pretrained(tmp_path / "again")
    a, b = (load_file(p / "model.safetensors") for p in (tmp_path, tmp_path / "again"))
    assert set(a) == set(b)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert same(load_exported(tmp_path), model.inn)


@pytest.mark.parametrize("options", [
    {"dtype": torch.bfloat16}, {"dtype": "float64"}, {"dtype": "auto"}, {"device_map": "cpu"},
    {"low_cpu_mem_usage": True},
], ids=str)  # fmt: skip
def test_loading_with_a_type_or_a_device_changes_nothing_else(build, tmp_path, options):
    model = build(dtype=torch.float32)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, **options)
    dtype = {"float64": torch.float64, "auto": torch.float32}.get(options.get("dtype"), options.get("dtype"))
    for (name, a), b in zip(again.state_dict().items(), model.state_dict().values(), strict=True):
        expected = b.to(dtype or torch.float32) if b.is_floating_point() else b
        assert torch.equal(a, expected), name
        assert a.dtype == expected.dtype, name


def test_weights_in_several_files_are_opened(build, tmp_path):
    model = build(dtype=torch.float32)
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    assert same(AutoModelForCausalLM.from_pretrained(tmp_path).inn, model.inn)
    assert same(inn.load(tmp_path), model.inn)


def test_what_a_file_lacks_is_named_and_made_as_a_new_model_has_it(build, tmp_path):
    model = build(dtype=torch.float32)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    missing = ["inn.graph.rounds.0.memory.A_log", "inn.recall.gain", "inn.graph.ids"]
    save_file({k: t for k, t in tensors.items() if k not in missing}, tmp_path / "model.safetensors", {"format": "pt"})
    again, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    missing = [name.replace("graph", "backbone") for name in missing]
    assert set(report["missing_keys"]) == set(missing)
    new = INNForCausalLM(model.config)
    for name, t in again.state_dict().items():
        assert torch.equal(t, (new if name in missing else model).state_dict()[name]), name
    with pytest.raises(InputError, match=r"recall\.gain"):
        inn.load(tmp_path)


def test_a_loaded_model_takes_its_vocabulary_and_experience_along(folder, run, tmp_path):
    """Fine-tuned and saved again, it is still a folder that `inn` writes with."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    again = inn.load(tmp_path)
    assert again.vocabulary == inn.load(run).vocabulary
    assert again.experience is not None
    assert "".join(again.generate("the ", 20, seed=1)) == "".join(inn.load(run).generate("the ", 20, seed=1))


@pytest.mark.slow
def test_the_card_says_what_the_run_came_to(run, folder):
    card = (folder / "README.md").read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['best']['bits']:.4f} BPC over {summary['best']['count']:,}" in card
    assert f"{summary['parameters']:,}" in card
    assert summary["data"]["sha256"] in card
    code = card.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environ(), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("the ")


def environ() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_a_folder_opens_itself_where_its_code_is_trusted(folder, tmp_path):
    code = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "import sys; assert 'inn' not in sys.modules\n"
        f"AutoTokenizer.from_pretrained({str(folder)!r}, trust_remote_code=True)\n"
        f"print(type(AutoModelForCausalLM.from_pretrained({str(folder)!r}, trust_remote_code=True)))"
    )
    env = {**environ(), "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "inn.hf.model.INNForCausalLM" in done.stdout


@pytest.mark.slow
def test_a_folder_that_opened_itself_and_is_saved_again_opens_itself(folder, tmp_path):
    code = (
        "from transformers import AutoModelForCausalLM\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(folder)!r}, trust_remote_code=True)\n"
        "model.save_pretrained('again')\n"
        "AutoModelForCausalLM.from_pretrained('again', trust_remote_code=True)"
    )
    env = {**environ(), "HF_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert [path.name for path in (tmp_path / "again").glob("*.py")] == ["modeling_inn.py"]
    maps = [json.loads((path / "config.json").read_text())["auto_map"] for path in (folder, tmp_path / "again")]
    assert maps[0] == maps[1] != {}


def test_old_folders_find_the_names_they_know():
    """`modeling_inn.py` of folders that were exported before the configuration had a name of its own."""
    import inn.hf

    assert inn.hf.INNConfig is inn.hf.INNHFConfig
    assert set(INNForCausalLM.config_class().auto_map.values()) == {
        f"modeling_inn.{name}" for name in ("INNConfig", "INNModel", "INNForCausalLM")
    }


def test_the_command_lists_what_it_wrote(run, tmp_path, capsys):
    path = tmp_path / "new" / "folder"
    assert main(["export", str(run), str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == {p.name: p.stat().st_size for p in path.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(told["bytes"])
    other = tmp_path / "other"
    other.mkdir()
    assert main(["export", str(next((run / "checkpoints").glob("step-*"))), str(other)]) == 0
    assert "AutoModelForCausalLM" in capsys.readouterr().out
    assert {p.name: p.stat().st_mode for p in path.iterdir()} == {p.name: p.stat().st_mode for p in other.iterdir()}


def test_a_folder_that_holds_something_is_left_alone(run, tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    assert main(["export", str(run), str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["export", str(run), str(tmp_path / "mine")]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("argv", [["nowhere", "new"], ["."], [], [".", "new"], ["a", "b", "c"]])
def test_bad_arguments_are_refused_in_a_sentence(argv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *argv]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_kind_is_refused_and_leaves_nothing(run, tmp_path, capsys):
    other = tmp_path / "lstm"
    options = "--model.kind lstm --model.width 8 --train.symbols 512 --data.window 32"
    assert main(["train", "demo", "--run", str(other), *options.split()]) == 0
    capsys.readouterr()
    assert main(["export", str(other), str(tmp_path / "new")]) == 2
    assert "'lstm' cannot be given to transformers" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lstm"]


def test_nothing_is_left_where_writing_fails(run, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("inn.hf.folder.experience_bytes", fail)
    with pytest.raises(InputError, match="no space left"):
        export(run, tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("harm", ["config.json", "model.safetensors", "vocabulary.json", "experience.safetensors"])
def test_a_damaged_folder_is_refused_in_a_sentence(folder, tmp_path, harm):
    path = tmp_path / "folder"
    shutil.copytree(folder, path)
    content = (path / harm).read_bytes()
    (path / harm).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError):
        inn.load(path)


def test_weights_of_another_model_are_refused(folder, tmp_path):
    path = tmp_path / "folder"
    shutil.copytree(folder, path)
    config = json.loads((path / "config.json").read_text())
    for change in ({"width": 16}, {"tied": False}, {"rounds": 2}):
        (path / "config.json").write_text(json.dumps({**config, "inn": {**config["inn"], **change}}))
        with pytest.raises(InputError):
            inn.load(path)


def test_a_name_on_the_hub_is_looked_for_there(folder, tmp_path, monkeypatch):
    asked, found = [], [folder, tmp_path]

    def download(name, **options):
        asked.append(name)
        return str(found.pop(0))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert same(inn.load("hf://someone/a-model"), inn.load(folder))
    with pytest.raises(InputError, match="not a model that `inn export` wrote"):
        inn.load("hf://someone/other")
    assert asked == ["someone/a-model", "someone/other"]
    with pytest.raises(InputError, match="not a run"):
        inn.load("someone/a-model")


def test_a_name_that_the_hub_does_not_give_is_refused_in_a_sentence(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(name, **options):
        raise LocalEntryNotFoundError("Cannot reach it.\nAt all")

    with pytest.raises(InputError, match="did not give 'a b/c'"):
        inn.load("hf://a b/c")
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(InputError, match="Cannot reach it"):
        inn.load("hf://someone/no-such-model")


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="inn-torch\\[hf\\]"):
        inn.load("hf://someone/a-model")
    for name in [n for n in sys.modules if n == "inn.hf" or n.startswith("inn.hf.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="inn-torch\\[hf\\]"):
        importlib.import_module("inn.hf")
