"""An INN in the tools that people train with: Trainer, collators, checkpointing, torch.compile, adapters."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DataCollatorForLanguageModeling,
    DataCollatorWithFlattening,
    Trainer,
    TrainingArguments,
)

import inn
from inn.data.vocabulary import Characters
from inn.hf import build_tokenizer
from inn.hf.model import projections
from inn.nn.population import NeuronLinear

TEXTS = ["abcabcabcabc", "abcab", "bcabcabca", "cabcabcabc"] * 4


@pytest.fixture
def tokenizer():
    return build_tokenizer(Characters("abcdefghijk"))


def arguments(path, **options) -> TrainingArguments:
    return TrainingArguments(
        str(path), per_device_train_batch_size=4, max_steps=25, learning_rate=3e-2, lr_scheduler_type="constant",
        logging_steps=1, report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True, seed=0, **options,
    )  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_the_trainer_trains_it(build, tokenizer, tmp_path, packed):
    model = build(dtype=torch.float32).train()
    model.inn.vocabulary = Characters("abcdefghijk")
    data = [tokenizer(text) for text in TEXTS]
    if packed:
        collator = DataCollatorWithFlattening(return_flash_attn_kwargs=True, return_seq_idx=True)
        data = [{"input_ids": d["input_ids"]} for d in data]
    else:
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    trainer = Trainer(
        model, arguments(tmp_path), train_dataset=data, data_collator=collator, processing_class=tokenizer
    )
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert losses[-1] < 0.25 < 2 < losses[0]
    prompt = tokenizer(["abc", "a"], return_tensors="pt", padding=True)
    texts = model.eval().generate(**prompt, do_sample=False, max_new_tokens=6)
    assert tokenizer.batch_decode(texts, skip_special_tokens=True) == ["abcabcabc", "abcabca"]
    trainer.save_model(str(tmp_path / "saved"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.generate(**prompt, do_sample=False, max_new_tokens=6), texts)
    assert "".join(inn.load(tmp_path / "saved").generate("abc", 6, top_k=1)) == "abcabc"


def test_the_loss_of_a_batch_is_the_same_padded_and_packed(build, tokenizer):
    model = build()
    data = [{"input_ids": tokenizer(text)["input_ids"]} for text in TEXTS[:4]]
    padded = DataCollatorForLanguageModeling(tokenizer, mlm=False)([dict(d) for d in data])
    packed = DataCollatorWithFlattening()([dict(d) for d in data])
    assert packed["input_ids"].shape == (1, 36)
    a, b = model(**padded).loss, model(**packed).loss
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(model(**padded, num_items_in_batch=8).loss, a * 32 / 8)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_rounds_are_run_again_where_memory_is_short(build, tokens, kind):
    """Checkpointing runs each round twice and changes no gradient."""
    model, x = build(kind, steady=True).train(), tokens(2, 7)
    weights, runs = list(model.parameters()), []
    model.inn.graph.rounds[0].register_forward_pre_hook(lambda *args: runs.append(1))
    plain = torch.autograd.grad(model(x, labels=x).loss, weights)
    rounds = len(runs)
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    again = torch.autograd.grad(model(x, labels=x).loss, weights)
    assert len(runs) == 3 * rounds
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    assert not model.inn.graph.checkpoint_rounds


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"attention_mask": torch.tensor([[0, 0, 1, 1, 1, 1]])}], ids=["plain", "mask"])
def test_a_compiled_model_gives_the_same_loss_and_gradients(build, tokens, options):
    model, x = build(dtype=torch.float32, steady=True), tokens(1, 6)
    weights = list(model.parameters())
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected = model(x, labels=x, use_cache=False, **options)
    got = compiled(x, labels=x, use_cache=False, **options)
    torch.testing.assert_close(got.loss, expected.loss)
    torch.testing.assert_close(got.logits, expected.logits)
    for a, b in zip(torch.autograd.grad(got.loss, weights), torch.autograd.grad(expected.loss, weights), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["default", "distinct", "paper", "stack"])
def test_adapters_reach_every_projection(build, tokens, kind):
    """Each adapter gets a gradient, changes the result, steps as it reads, and merges into the weights."""
    peft = pytest.importorskip("peft")
    model, x = build(kind), tokens(2, 8)
    before = model(x).logits
    names = projections(model)
    assert len(names) == sum(isinstance(m, NeuronLinear) for m in model.modules())
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_parameters=names, task_type="CAUSAL_LM"))
    torch.testing.assert_close(adapted(x).logits, before, atol=1e-12, rtol=0)
    lora = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    assert len(lora) == 2 * len(names)
    torch.manual_seed(0)
    for p in lora.values():
        torch.nn.init.normal_(p, std=0.3)
    grads = torch.autograd.grad(adapted(x, labels=x).loss, list(lora.values()), allow_unused=True)
    for name, g in zip(lora, grads, strict=True):
        assert g is not None, name
        assert g.abs().max() > 0, name
    logits = adapted(x).logits
    assert (logits - before).abs().max() > 1e-2
    with torch.no_grad():  # symbol by symbol, in place
        cache, steps = None, []
        for t in range(8):
            out = adapted(x[:, t : t + 1], past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            steps.append(out.logits)
    torch.testing.assert_close(torch.cat(steps, 1), logits, atol=1e-11, rtol=0)
    text = adapted.generate(input_ids=x, do_sample=False, max_new_tokens=5)
    with adapted.disable_adapter():
        torch.testing.assert_close(adapted(x).logits, before, atol=1e-12, rtol=0)
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(merged(x).logits, logits, atol=1e-11, rtol=0)
    assert torch.equal(merged.generate(x, do_sample=False, max_new_tokens=5), text)
    assert all(
        type(m) is not NeuronLinear or "parametrizations" not in dict(m.named_modules()) for m in merged.modules()
    )


def test_an_adapter_is_trained_saved_and_put_back(build, tokenizer, tmp_path):
    peft = pytest.importorskip("peft")
    build(dtype=torch.float32).save_pretrained(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    config = peft.LoraConfig(r=4, target_parameters=["hear.weight", "out_proj.weight"], target_modules=["head"])
    adapted = peft.get_peft_model(model, config)
    data = [tokenizer(text) for text in TEXTS]
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    trainer = Trainer(adapted, arguments(tmp_path), train_dataset=data, data_collator=collator)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert losses[-1] < losses[0] - 0.5
    adapted.save_pretrained(tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    again = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    batch = tokenizer("abcabc", return_tensors="pt")
    torch.testing.assert_close(again(**batch).logits, adapted.eval()(**batch).logits)
