"""A folder is more than its weights: whatever writes or rewrites one leaves what belongs together, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

import inn
from inn import InputError
from inn.cli.main import main
from inn.data.vocabulary import Characters
from inn.export.base import export
from inn.hf import build_tokenizer
from inn.runs.publish import contents

SIDECARS = ("vocabulary.json", "experience.safetensors")


@pytest.fixture
def folder(run, tmp_path) -> Path:
    export(run, tmp_path / "folder")
    return tmp_path / "folder"


@pytest.mark.parametrize("first, then", [("1GB", "4KB"), ("4KB", "1GB"), ("4KB", "8KB")])
def test_weights_in_other_files_do_not_lie_on(build, tmp_path, first, then):
    """One file over several, several over one: the last that were saved are those that are opened."""
    build(dtype=torch.float32, seed=1).save_pretrained(tmp_path, max_shard_size=first)
    model = build(dtype=torch.float32, seed=2)
    model.save_pretrained(tmp_path, max_shard_size=then)
    for again in (AutoModelForCausalLM.from_pretrained(tmp_path).inn, inn.load(tmp_path)):
        for (name, t), own in zip(again.state_dict().items(), model.inn.state_dict().values(), strict=True):
            assert torch.equal(t, own), name


def test_a_model_without_a_vocabulary_takes_away_that_of_another(folder, build):
    """With its tokenizer, its experience and its card."""
    build(dtype=torch.float32).save_pretrained(folder)
    assert inn.load(folder).vocabulary is None
    assert inn.load(folder).experience is None
    left = {path.name for path in folder.iterdir()}
    assert not left & {*SIDECARS, "tokenizer.json", "tokenizer_config.json", "README.md"}
    AutoModelForCausalLM.from_pretrained(folder)


def test_a_model_with_another_vocabulary_brings_its_own_tokenizer(folder, build):
    model = build(dtype=torch.float32)
    model.inn.vocabulary = Characters("abcdefghijk")
    model.save_pretrained(folder)
    assert inn.load(folder).vocabulary == model.inn.vocabulary
    assert inn.load(folder).experience is None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("abc").input_ids == [0, 1, 2]
    assert tokenizer.pad_token_id == 11


@pytest.mark.parametrize("order", ["tokenizer first", "model first"])
def test_a_tokenizer_that_was_given_tokens_stays(build, tmp_path, order):
    model, tokenizer = build(dtype=torch.float32), build_tokenizer(Characters("abcdefghijk"))
    model.inn.vocabulary = Characters("abcdefghijk")
    tokenizer.add_tokens(["<x>"])
    for saved in (tokenizer, model) if order == "tokenizer first" else (model, tokenizer):
        saved.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids("<x>") == 12


def test_tuned_and_saved_over_itself_it_keeps_all_but_what_it_scored(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    before = inn.load(folder)
    model.save_pretrained(folder)
    assert (folder / "README.md").is_file(), "the same weights"
    with torch.no_grad():
        model.inn.head.bias += 1
    model.save_pretrained(folder)
    after = inn.load(folder)
    assert after.vocabulary == before.vocabulary
    assert all(torch.equal(after.experience[key], t) for key, t in before.experience.items())
    assert not (folder / "README.md").exists()
    assert AutoTokenizer.from_pretrained(folder)("the").input_ids == before.vocabulary.encode("the").tolist()
    assert AutoModelForCausalLM.from_pretrained(folder).generation_config.to_dict() == model.generation_config.to_dict()


def test_every_checkpoint_of_the_trainer_is_whole(folder, tmp_path):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("the graph").input_ids
    settings = TrainingArguments(
        str(tmp_path / "out"), max_steps=2, save_steps=1, report_to="none", use_cpu=True, disable_tqdm=True
    )
    data = [{"input_ids": ids, "labels": ids}] * 2
    trainer = Trainer(model, settings, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    for place in sorted((tmp_path / "out").glob("checkpoint-*")):
        again = inn.load(place)
        assert again.vocabulary == inn.load(folder).vocabulary
        assert again.experience is not None
        assert AutoTokenizer.from_pretrained(place)("the graph").input_ids == ids
        assert AutoModelForCausalLM.from_pretrained(place).experience_cache().batch_size == 1
    trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-1"))
    assert trainer.state.global_step == 2


def test_an_adapter_is_not_left_where_a_model_is_saved(build, tmp_path):
    peft = pytest.importorskip("peft")
    model = build(dtype=torch.float32)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["head"]))
    adapted.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="holds an adapter"):
        adapted.merge_and_unload().save_pretrained(tmp_path)


class Hub:
    """What `push_to_hub` asks of the network."""

    def create_repo(self, repo_id: str, **options) -> Hub:
        self.repo_id = repo_id
        return self

    def save(self, path: str) -> None:
        """The card."""


def test_what_is_pushed_is_whole(folder, run, tmp_path, monkeypatch):
    """By `save_pretrained(push_to_hub=True)` too, whose upload came before the sidecars; and never what was changed."""
    seen = {}

    def upload(self, working_dir, repo_id, *args, **options):
        seen[repo_id] = {path.name for path in Path(working_dir).iterdir()}

    monkeypatch.setattr("transformers.utils.hub.PushToHubMixin._upload_modified_files", upload)
    monkeypatch.setattr("transformers.utils.hub.hf_api", Hub)
    monkeypatch.setattr("transformers.utils.hub.create_and_tag_model_card", lambda *a, **o: Hub())
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "name", push_to_hub=True, repo_id="someone/name")
    model.push_to_hub("someone/other")
    assert seen.keys() == {"someone/name", "someone/other"}
    assert all(names >= {*SIDECARS, "modeling_inn.py", "config.json", "checksums.json"} for names in seen.values())
    assert contents(folder)
    other = AutoModelForCausalLM.from_pretrained(folder).inn
    save_file({f"inn.{k}": t + 1 for k, t in other.named_parameters()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"checksums\.json"):
        contents(folder)


@pytest.fixture(scope="module")
def mamba(tmp_path_factory) -> Path:
    """A pretrained Mamba with a template of conversations, roles of its tokens, and ways of its own to draw text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import MambaConfig, MambaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("pretrained") / "mamba"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(letters)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<fill>", model_max_length=512,
        chat_template="{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
    )  # fmt: skip
    theirs.save_pretrained(path)
    model = MambaForCausalLM(MambaConfig(vocab_size=264, hidden_size=8, num_hidden_layers=1, state_size=4))
    model.generation_config.update(eos_token_id=theirs.eos_token_id, temperature=0.3, do_sample=True, top_k=5)
    model.save_pretrained(path)
    return path


def agree(path: Path, mamba: Path, generation: bool = True) -> None:
    """Roles, template, numbers and drawing are those of the folder that it all began with."""
    ours, theirs = (AutoTokenizer.from_pretrained(place) for place in (path, mamba))
    for role in ("bos_token", "eos_token", "pad_token", "bos_token_id", "eos_token_id", "model_max_length"):
        assert getattr(ours, role) == getattr(theirs, role), role
    talk = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "a b"}]
    assert ours.apply_chat_template(talk).input_ids == theirs.apply_chat_template(talk).input_ids
    assert ours("hello</s>").input_ids == theirs("hello</s>").input_ids == inn.load(path).vocabulary.encode(
        "hello</s>"
    ).tolist()  # fmt: skip
    if generation:
        found = json.loads((path / "generation_config.json").read_text())
        assert (found["eos_token_id"], found["temperature"], found["top_k"]) == (theirs.eos_token_id, 0.3, 5)


def test_a_pretrained_folder_keeps_its_tokenizers_roles_and_template_on_every_way(mamba, tmp_path, monkeypatch):
    """Upcycled, exported, trained from, compressed, tuned: whatever is made of it."""
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("a neuron listens, then it speaks; " * 60)
    small = "--data.corpus file:notes.txt --train.symbols 256 --data.batch 2 --data.window 16 --train.eval_symbols 100"
    assert main(["upcycle", str(mamba), "up", "--model.neurons", "2"]) == 0
    source = shutil.copytree(mamba, "elsewhere")
    assert main(["export", "up", "exported"]) == 0
    agree(Path("exported"), source)
    assert main(["train", "--from", "up", "--run", "tuned", *small.split()]) == 0
    assert main(["export", "tuned", "tuned-exported"]) == 0
    agree(Path("tuned-exported"), source)
    assert main(["train", "demo", "--run", "new", "--data.tokenizer", str(source), "--model.neurons", "2",
                 "--model.width", "8", "--model.rounds", "1", *small.split()]) == 0  # fmt: skip
    assert main(["export", "new", "new-exported"]) == 0
    agree(Path("new-exported"), source, generation=False)
    assert "temperature" not in json.loads(Path("new-exported/generation_config.json").read_text())
    compress = ["--calibrate", "notes.txt", "--rows", "2", "--length", "32", "--windows", "1", "--keep", "0.5"]
    for model in ("new", "new-exported"):
        assert main(["compress", model, "--out", f"{model}-small", *compress]) == 0
        agree(Path(f"{model}-small"), source, generation=False)
    AutoModelForCausalLM.from_pretrained("exported").save_pretrained("exported")
    agree(Path("exported"), source)
