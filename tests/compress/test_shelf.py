"""A decoder that stays in its files: the same folder comes of it, and never more than its layers' turn is in memory."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from inn.cli.main import main
from inn.compress import pipeline
from inn.compress.decoder import open_decoder
from inn.compress.plans import named_plan
from inn.compress.shelf import Shelf
from inn.system.errors import InputError

SMALL = {"rows": 6, "length": 32, "windows": 3}


@pytest.fixture(scope="module")
def deeper(decoder, tmp_path_factory):
    """The folder of a decoder of four layers, in several files."""
    folder = tmp_path_factory.mktemp("deeper")
    shutil.copytree(decoder / "model", folder, dirs_exist_ok=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).config
    model.num_hidden_layers, model.tie_word_embeddings = 4, True
    torch.manual_seed(0)
    (folder / "model.safetensors").unlink()
    transformers.LlamaForCausalLM(model).save_pretrained(folder, max_shard_size="20KB")
    return folder


@pytest.mark.parametrize(
    "plan, roles, dtype",
    [
        ("svd-llm", None, "bfloat16"),
        ("basis-sharing", "qkvd", "auto"),
        ("auto", None, "auto"),
        ("qq-dd", None, "auto"),
    ],
)
def test_it_becomes_what_it_would_in_memory(deeper, decoder, tmp_path, plan, roles, dtype, monkeypatch):
    """Groups of one layer and of two, in one pass and following one another."""
    monkeypatch.setattr(pipeline, "named_plan", lambda *given: replace(named_plan(*given), weigh="moments"))
    most, hold = [0], Shelf.hold

    def counted(self, layers):
        hold(self, layers)
        most.append(sum(not p.is_meta for layer in self.layers for p in [next(layer.parameters())]))

    monkeypatch.setattr(Shelf, "hold", counted)
    options = {"roles": roles, "dtype": dtype, **SMALL}
    found = [
        pipeline.run(deeper, decoder / "text", tmp_path / f"{to}", plan, 0.5, **options, stream=to)
        for to in (False, True)
    ]
    shared = max(len({b[1:] for b in group["blocks"]}) for group in found[0]["groups"])
    assert max(most) == (1 if shared == 1 else 2)
    (whole, _), (streamed, _) = (open_decoder(tmp_path / f"{to}", "auto") for to in (False, True))
    wanted = dict(whole.named_parameters())
    assert {name for name, _ in streamed.named_parameters()} == set(wanted)
    assert all(
        p.dtype == wanted[name].dtype and torch.equal(p, wanted[name]) for name, p in streamed.named_parameters()
    )
    for side in ("before", "after"):
        a, b = found[0][side], found[1][side]
        assert b["perplexity"] == pytest.approx(a["perplexity"], rel=1e-5 if dtype == "auto" else 1e-3)
        assert b["parameters"] == a["parameters"]
    assert all(found[1][key] == found[0][key] for key in ("groups", "left_dense", "lost", "coverage"))
    files = json.loads((tmp_path / "True" / "model.safetensors.index.json").read_text())["weight_map"].values()
    assert len(set(files)) == 4 + 1


def test_the_command_streams_in_the_dtype_of_the_folder(deeper, decoder, tmp_path, capsys):
    half = tmp_path / "half"
    transformers.AutoModelForCausalLM.from_pretrained(deeper, dtype=torch.bfloat16).save_pretrained(half)
    transformers.AutoTokenizer.from_pretrained(deeper).save_pretrained(half)
    out = tmp_path / "out"
    options = ["--keep", "0.5", "--rows", "4", "--length", "32", "--windows", "2", "--stream"]
    assert main(["compress", str(half), "--calibrate", str(decoder / "text"), "--out", str(out), *options]) == 0
    assert "symbols per second" not in capsys.readouterr().out
    model, _ = open_decoder(out, "auto")
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight


def _bin(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _renamed(folder):
    numbers = load_file(folder / "model.safetensors")
    save_file({name.removeprefix("model."): x for name, x in numbers.items()}, folder / "model.safetensors")


def _quantised(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "bitsandbytes"}}))


def _narrow(folder):
    numbers = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file(numbers | {name: numbers[name][:-1].clone()}, folder / "model.safetensors")


def _cut(folder):
    numbers = load_file(folder / "model.safetensors")
    file = folder / "model-1.safetensors"
    save_file(numbers, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(numbers, file.name)}))
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    "spoil, options, says",
    [
        (None, {"heal_on": "text"}, "--heal takes the whole model at once"),
        (None, {"dense": True}, "--dense takes the whole model at once"),
        (None, {"plan": "fwsvd"}, "weighs by gradients of the whole model"),
        (_bin, {}, "holds no safetensors, which --stream reads layer by layer"),
        (_quantised, {}, "is quantised or compressed already"),
        (_narrow, {}, "'model.layers.1.mlp.up_proj.weight' in .* is .47, 32., and the model's is .48, 32."),
        (_cut, {}, "model-1.safetensors' cannot be read: .* it is damaged"),
        (_renamed, {}, "has its numbers under other names than LlamaForCausalLM"),
    ],
)
def test_what_takes_the_whole_model_is_refused(decoder, tmp_path, spoil, options, says):
    source = tmp_path / "source"
    shutil.copytree(decoder / "model", source)
    if spoil:
        spoil(source)
    with pytest.raises(InputError, match=says):
        pipeline.run(source, decoder / "text", tmp_path / "out", **SMALL, stream=True, **options)
    assert not (tmp_path / "out").exists()
