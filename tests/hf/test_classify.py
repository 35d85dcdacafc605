"""An INN as a classifier: by the last symbol, whatever stands around a text; trained, saved and opened."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

import inn
from inn import InputError
from inn.data.vocabulary import Characters
from inn.hf import INNForSequenceClassification, build_tokenizer

TEXTS = ["abab", "bababab", "ab", "babab", "cdcd", "dcdcdcd", "cd", "dcdcd"]


@pytest.fixture
def classifier(build):
    def make(**fields):
        causal = build()
        for name, value in {"num_labels": 3, **fields}.items():
            setattr(causal.config, name, value)
        return INNForSequenceClassification(causal.config, causal.inn).eval().double()

    return make


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_class(classifier, tokens, side):
    model, mask = classifier(), torch.tensor([[1, 1, 1, 0, 0, 0], [1] * 6])
    mask = mask.flip(1) if side == "left" else mask
    x = tokens(2, 6)
    logits = model(x, attention_mask=mask).logits
    for row, m, got in zip(x, mask.bool(), logits, strict=True):
        torch.testing.assert_close(got, model(row[m][None]).logits[0], atol=1e-11, rtol=0)
        last = model.inn.hidden(row[m][None])[0][0, -1]
        torch.testing.assert_close(got, model.score(last), atol=1e-11, rtol=0)


@pytest.mark.parametrize(
    "problem, labels",
    [
        ("single_label_classification", torch.tensor([2, 0, 1, 1])),
        ("multi_label_classification", torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).double()),
        ("regression", torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double()),
    ],
)
def test_a_loss_does_not_depend_on_how_a_batch_is_cut(classifier, tokens, problem, labels):
    model, x = classifier(problem_type=problem), tokens(4, 5)
    items = labels.numel()  # as `Trainer` counts
    whole = model(x, labels=labels).loss
    torch.testing.assert_close(model(x, labels=labels, num_items_in_batch=items).loss, whole)
    parts = [model(x[i : i + 2], labels=labels[i : i + 2], num_items_in_batch=items).loss for i in (0, 2)]
    torch.testing.assert_close(sum(parts), whole)
    guessed = classifier()
    if problem != "regression":
        torch.testing.assert_close(guessed(x, labels=labels).loss, whole)
        assert guessed.config.problem_type == problem
    one = classifier(num_labels=1)
    torch.testing.assert_close(one(x, labels=torch.zeros(4)).loss, one(x).logits.square().mean().float())


@pytest.mark.parametrize("labels", [torch.zeros(3).long(), torch.tensor([0, 3]), torch.zeros(2, 5), torch.zeros(2, 2)])
def test_labels_that_do_not_fit_are_refused(classifier, tokens, labels):
    with pytest.raises(InputError, match="labels"):
        classifier()(tokens(2, 4), labels=labels)


def test_a_run_becomes_a_classifier(run, build, tmp_path):
    """From a language model's folder, by `Trainer`, to a folder that the Auto class opens."""
    build(dtype=torch.float32).save_pretrained(tmp_path / "language")
    model, told = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "language", num_labels=2, output_loading_info=True
    )
    assert set(told["missing_keys"]) == {"score.weight"}
    assert 0.005 < model.score.weight.std() < 0.05
    language = AutoModelForCausalLM.from_pretrained(tmp_path / "language")
    assert torch.equal(model.inn.embedding.weight, language.inn.embedding.weight)
    tokenizer = build_tokenizer(Characters("abcdefghijk"))
    data = [{**tokenizer(text), "labels": int(text[0] in "cd")} for text in TEXTS]
    settings = TrainingArguments(
        str(tmp_path / "runs"), per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=12,
        learning_rate=3e-2, lr_scheduler_type="constant", logging_steps=1, report_to="none", save_strategy="no",
        use_cpu=True, disable_tqdm=True, seed=0,
    )  # fmt: skip
    trainer = Trainer(model, settings, train_dataset=data, data_collator=DataCollatorWithPadding(tokenizer))
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert losses[-1] < 0.3 < 0.6 < losses[0] < 0.8
    trainer.save_model(str(tmp_path / "classifier"))
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier")
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    found = again(**batch).logits
    assert torch.equal(found, model.eval()(**batch).logits)
    assert found.argmax(1).tolist() == [0] * 4 + [1] * 4
    with pytest.raises(InputError, match="AutoModelForSequenceClassification"):
        inn.load(tmp_path / "classifier")


@pytest.mark.slow
def test_a_folder_opens_itself_where_its_code_is_trusted(build, tmp_path):
    """By whom nothing of inn was imported: its configuration's code brings the classes along."""
    build(dtype=torch.float32).save_pretrained(tmp_path / "folder")
    code = (
        "from transformers import AutoModelForSequenceClassification as Auto\n"
        "import sys; assert 'inn' not in sys.modules\n"
        "Auto.from_pretrained(sys.argv[1], trust_remote_code=True, num_labels=3).save_pretrained('again')\n"
        "print(type(Auto.from_pretrained('again', trust_remote_code=True)).__name__)\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code, "folder"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.strip().endswith("INNForSequenceClassification"), done.stderr[-2000:]
