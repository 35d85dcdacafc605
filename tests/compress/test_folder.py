"""A compressed model as a folder: opened by transformers, fine-tuned, merged back to dense, refused if broken."""

import copy
import json
import pickle
import subprocess
import sys

import pytest
import safetensors.torch
import torch
import transformers
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from inn.compress import compress, folder
from inn.compress.blocks import find_blocks, neuronal
from inn.compress.measure import score, size, writing_speeds
from inn.compress.plans import CompressionPlan
from inn.system.errors import InputError

from .conftest import ARCHITECTURES, TOKENS


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


@pytest.mark.parametrize("plan", ["auto", "hybrid5"])
def test_a_folder_gives_the_same_model_back(model, plan, tmp_path):
    if plan != "auto" and type(model).__name__ == "MambaForCausalLM":
        pytest.skip("it has no queries, keys and values")
    compress(model, TOKENS, plan, 0.5)
    wanted = logits(model)
    folder.save(model, tmp_path)
    back, told = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert torch.equal(logits(back), wanted)
    assert {p: id(m.reads) for p, m in neuronal(back)}.keys() == dict(neuronal(model)).keys()
    assert len({id(m.reads) for _, m in neuronal(back)}) == len({id(m.reads) for _, m in neuronal(model)})
    back.save_pretrained(tmp_path / "again")
    assert torch.equal(logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again")), wanted)


def test_merged_back_it_is_an_ordinary_dense_model(model, tmp_path):
    kinds = [type(m) for m in model.modules() if not hasattr(m, "nf")]
    compress(model, TOKENS, "auto", 0.6)
    wanted = logits(model)
    folder.save(model, tmp_path / "small")
    dense = folder.merge(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small"))
    torch.testing.assert_close(logits(dense), wanted, rtol=1e-4, atol=1e-5)
    assert [type(m) for m in dense.modules() if not hasattr(m, "nf")] == kinds
    assert "quantization_config" not in dense.config.to_dict()
    dense.save_pretrained(tmp_path / "dense")
    again = type(model).from_pretrained(tmp_path / "dense")
    torch.testing.assert_close(logits(again), wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture
def stranger(monkeypatch):
    """A process without this package: transformers knows neither its method nor its type of model."""
    monkeypatch.delitem(AUTO_QUANTIZATION_CONFIG_MAPPING, folder.METHOD)
    monkeypatch.delitem(transformers.CONFIG_MAPPING._extra_content, folder.METHOD)


def trained(model, path):
    """A checkpoint of the Trainer, one step on."""
    arguments = transformers.TrainingArguments(
        str(path / "runs"), max_steps=1, save_steps=1, report_to=[], use_cpu=True, disable_tqdm=True
    )
    rows = [{"input_ids": row, "labels": row} for row in TOKENS]
    transformers.Trainer(model, arguments, train_dataset=rows).train()
    (path / "runs" / "checkpoint-1").rename(path / "out")


def adapted(model, path):
    peft = pytest.importorskip("peft")
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["write"], r=2)).merge_and_unload().save_pretrained(path)


WAYS = {
    "saved by the library": lambda model, path: folder.save(model, path / "out"),
    "saved by transformers": lambda model, path: model.save_pretrained(path / "out"),
    "copied and cast": lambda model, path: copy.deepcopy(model).half().save_pretrained(path / "out"),
    "pickled": lambda model, path: pickle.loads(pickle.dumps(model)).save_pretrained(path / "out"),  # noqa: S301
    "resized": lambda model, path: (model.resize_token_embeddings(53), model.save_pretrained(path / "out")),
    "trained": trained,
    "adapters merged": lambda model, path: adapted(model, path / "out"),
    "opened without its head": lambda model, path: (
        model.save_pretrained(path / "a"),
        transformers.AutoModel.from_pretrained(path / "a").save_pretrained(path / "out"),
    ),
    "opened by its class": lambda model, path: (
        model.save_pretrained(path / "a"), type(model).from_pretrained(path / "a").save_pretrained(path / "out")
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind, way",  # gpt2's maps are transposed, and its head is tied
    [*(("llama", way) for way in WAYS), *(("gpt2", way) for way in ("saved by transformers", "trained", "resized"))],
)
def test_however_it_was_saved_it_is_opened_whole_or_refused(kind, way, tmp_path, request):
    torch.manual_seed(0)
    model = ARCHITECTURES[kind]()
    compress(model, TOKENS, "auto", 0.5)
    WAYS[way](model, tmp_path)
    out = tmp_path / "out"
    auto = transformers.AutoModel if "head" in way else transformers.AutoModelForCausalLM
    back, told = auto.from_pretrained(out, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    saved = model.base_model if "head" in way else model
    for name, p in saved.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name].float(), p.float(), rtol=1e-3, atol=1e-3)
    assert any(True for _ in neuronal(back))
    request.getfixturevalue("stranger")
    for each in (auto, transformers.AutoModelForSequenceClassification):
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            each.from_pretrained(out, trust_remote_code=False)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        type(back).from_pretrained(out)
    weights = safetensors.torch.load_file(out / "model.safetensors")
    with pytest.raises(RuntimeError, match="size mismatch"):
        type(back)(type(back.config).from_dict(back.config.to_dict())).load_state_dict(weights, strict=False)


def test_a_folder_of_before_opens_and_is_saved_as_one_of_now(small, tmp_path):
    """It named the dense model's type, and held nothing where the dense weights had been."""
    compress(small, TOKENS, "in-layer", 0.5)
    folder.save(small, tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    config["model_type"] = config.pop("dense_model_type")
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    weights = safetensors.torch.load_file(tmp_path / "old" / "model.safetensors")
    old = {name: tensor for name, tensor in weights.items() if tensor.shape != (1,)}
    assert len(old) < len(weights)
    safetensors.torch.save_file(old, tmp_path / "old" / "model.safetensors", {"format": "pt"})
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "old")
    assert torch.equal(logits(back), logits(small))
    back.save_pretrained(tmp_path / "new")
    assert json.loads((tmp_path / "new" / "config.json").read_text())["model_type"] == folder.METHOD
    assert safetensors.torch.load_file(tmp_path / "new" / "model.safetensors").keys() == weights.keys()


def test_one_whose_weights_have_other_names_on_the_disk_opens_by_its_class_too(tmp_path):
    """Llava: transformers renames what it reads by the type of the model."""
    text = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    vision = {**text, "model_type": "clip_vision_model", "image_size": 28, "patch_size": 14}
    config = transformers.LlavaConfig(
        text_config={**text, "model_type": "llama"}, vision_config=vision, image_token_index=49
    )
    model = transformers.LlavaForConditionalGeneration(config)
    compress(model, TOKENS % 49, "svd-llm", 0.5)
    model.save_pretrained(tmp_path)
    back, told = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert all(torch.equal(p, back.get_parameter(name)) for name, p in model.named_parameters())


@pytest.mark.slow
@pytest.mark.parametrize("trust", [True, False])
def test_in_a_process_that_never_imports_us_it_opens_where_its_code_is_trusted(small, trust, tmp_path):
    compress(small, TOKENS, "in-layer", 0.5)
    folder.save(small, tmp_path)
    torch.save((TOKENS, logits(small)), tmp_path / "wanted.pt")
    code = f"""
import torch, transformers
model = transformers.AutoModelForCausalLM.from_pretrained({str(tmp_path)!r}, trust_remote_code={trust}).eval()
tokens, wanted = torch.load({str(tmp_path / "wanted.pt")!r})
with torch.no_grad():
    assert torch.equal(model(input_ids=tokens).logits, wanted)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert trust is (found.returncode == 0), found.stderr[-2000:]
    assert trust or "trust_remote_code=True" in found.stderr


def test_a_merged_model_is_written_as_an_ordinary_one(small, tmp_path, stranger):
    compress(small, TOKENS, "auto", 0.5)
    wanted = logits(folder.merge(small))
    small.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "generation_config.json", "model.safetensors"}
    assert torch.equal(logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path)), wanted)


def test_adapters_are_merged_before_anything_else(small, tmp_path):
    peft = pytest.importorskip("peft")
    compress(small, TOKENS, "auto", 0.5)
    peft.get_peft_model(small, peft.LoraConfig(target_modules=["write"], r=2))
    for step in (folder.merge, lambda model: folder.save(model, tmp_path)):
        with pytest.raises(InputError, match="has an adapter attached; merge it first"):
            step(small)


def test_a_compressed_model_can_be_fine_tuned(small):
    compress(small, TOKENS, "auto", 0.3)
    small.train()
    optimizer = torch.optim.Adam(small.parameters(), 3e-3)
    losses = []
    for _ in range(20):
        loss = small(input_ids=TOKENS, labels=TOKENS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_it_writes_as_its_dense_twin_does(small):
    compress(small, TOKENS, CompressionPlan("in-layer", "moments", allocate="even"), 0.5)
    ours = small.generate(TOKENS[:2, :5], max_new_tokens=8, do_sample=False, pad_token_id=0)
    dense = folder.merge(small)
    assert torch.equal(dense.generate(TOKENS[:2, :5], max_new_tokens=8, do_sample=False, pad_token_id=0), ours)


def test_sizes_add_up(model):
    blocks = find_blocks(model)
    total = sum(p.numel() for p in model.parameters())
    before = size(model, blocks, blocks)
    assert before.total == total
    outcome = compress(model, TOKENS, "auto", 0.5)
    named = [block for group, _ in outcome.groups for block in group]
    after = size(model, blocks, named)
    assert after.total == sum(p.numel() for p in model.parameters())
    assert after.flops < before.flops
    assert (after.embeddings, before.total - after.total) == (before.embeddings, total - after.total)


def test_a_text_is_scored_in_windows(small):
    text = TOKENS.flatten()
    found = score(small, text, window=12)
    rows = text.view(-1, 12)
    with torch.no_grad():
        wanted = torch.nn.functional.cross_entropy(
            small(input_ids=rows).logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten()
        )
    assert found.nats == pytest.approx(float(wanted), rel=1e-5)
    assert (found.count, len(found.parts)) == (18 * 11, 18)


def test_speeds_are_measured(small):
    assert min(writing_speeds({"a": small, "b": small}, TOKENS[0], symbols=2, rounds=1).values()) > 0


def test_a_folder_for_another_model_is_refused(small, tmp_path):
    compress(small, TOKENS, "in-layer", 0.5)
    folder.save(small, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["groups"][0]["blocks"][0][0] = "model.layers.9.self_attn.q_proj"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="has no layers for the group"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
