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
from inn import InputError
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


@pytest.mark.parametrize("side, options", [
    ("left", {}), ("right", {}), ("packed", {}),
    pytest.param("left", {"label_smoothing_factor": 0.1}, marks=pytest.mark.slow),
    ("packed", {"label_smoothing_factor": 0.1}), ("left", {"average_tokens_across_devices": False, "peft": True}),
], ids=str)  # fmt: skip
def test_a_step_of_the_trainer_is_the_same_however_its_batch_is_cut(build, tokenizer, tmp_path, side, options):
    """Loss and gradient of four texts, in one batch, in two, one by one; and what the texts by themselves give."""
    options, losses, norms = dict(options), [], []
    sizes = (2, 4) if options or side == "right" else (1, 2, 4)
    adapted = options.pop("peft", False)
    tokenizer.padding_side = "right" if side == "packed" else side
    data = [tokenizer(text) for text in TEXTS[:4]]
    rows = [{"input_ids": d["input_ids"]} for d in data] if side == "packed" else data
    packing, padding = DataCollatorWithFlattening(), DataCollatorForLanguageModeling(tokenizer, mlm=False)
    for size in sizes:
        model = build(dtype=torch.float32, steady=True)
        if adapted:
            peft = pytest.importorskip("peft")
            model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_parameters=projections(model)))
        settings = TrainingArguments(
            str(tmp_path), per_device_train_batch_size=size, gradient_accumulation_steps=4 // size, max_steps=1,
            logging_steps=1, report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True, **options,
        )  # fmt: skip
        collator = packing if side == "packed" else padding
        trainer = Trainer(model, settings, train_dataset=rows, data_collator=collator)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
        norms.append(trainer.state.log_history[0]["grad_norm"])
    model, nats, count = build(dtype=torch.float32), 0.0, 0
    factor = options.get("label_smoothing_factor", 0.0)
    for d in data:
        ids = torch.tensor([d["input_ids"]])
        said = -model(ids).logits[0, :-1].detach().log_softmax(-1)
        nats += float(((1 - factor) * said.gather(1, ids[0, 1:, None])[:, 0] + factor * said.mean(1)).sum())
        count += ids.shape[1] - 1
    assert losses == pytest.approx([nats / count] * len(sizes), abs=5e-6)
    assert norms == pytest.approx([norms[0]] * len(sizes), rel=1e-4)


def test_a_loss_is_divided_by_what_is_predicted(build, tokens):
    """As the texts apart, also where the first symbols of padded texts were counted; refused where no one can know."""
    model, mask = build(), torch.tensor([[0, 0, 0, 1, 1, 1], [1] * 6, [0, 1, 1, 1, 1, 1]])
    x, count = tokens(3, 6), 2 + 5 + 4
    texts = [row[m.bool()][None] for row, m in zip(x, mask, strict=True)]
    apart = sum(model(text, labels=text, num_items_in_batch=count).loss for text in texts)
    labels = x.masked_fill(mask == 0, -100)
    for items in (count + 2, torch.tensor(count + 2), count):
        found = model(x, attention_mask=mask, labels=labels, num_items_in_batch=items).loss
        torch.testing.assert_close(found, apart)
    assert (model.targets(labels, x, mask)[:, 1:] != -100).sum(1).tolist() == [2, 5, 4]
    with pytest.raises(InputError, match=r"model\.targets"):
        model(x, attention_mask=mask, labels=labels, num_items_in_batch=40)
    ahead = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    given = model(x, attention_mask=mask, labels=labels, shift_labels=ahead, num_items_in_batch=count)
    torch.testing.assert_close(given.loss, apart)
    place = {"position_ids": torch.tensor([[0, 1, 2, 0, 1, 2]])}  # packed by somebody who labels every symbol
    two = sum(model(x[1:2, t], labels=x[1:2, t], num_items_in_batch=4).loss for t in (slice(3), slice(3, 6)))
    torch.testing.assert_close(model(x[1:2], labels=x[1:2], num_items_in_batch=5, **place).loss, two)


def test_the_penalty_of_gates_is_paid_once_a_step_and_not_for_padding(build, tokens):
    model, x = build(gate="soft", gate_penalty=2.0, forget=0.0).train(), tokens(2, 6)
    whole = model(x, labels=x, num_items_in_batch=10).loss
    parts = sum(model(row[None], labels=row[None], num_items_in_batch=10).loss for row in x)
    torch.testing.assert_close(whole, parts)
    padded = torch.cat((torch.full((2, 3), 11), x), 1)
    torch.testing.assert_close(
        model(padded, labels=padded.masked_fill(padded == 11, -100)).loss, model(x, labels=x).loss
    )
    with pytest.raises(InputError, match="adds gate"):
        model(x, num_items_in_batch=10)


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
