"""The modules of an INN under transformers: what hangs on them is heard, where they start, what of theirs decays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

import inn
from inn.hf import INNForCausalLM, INNForSequenceClassification
from inn.nn.starting import no_decay


def build() -> Any:
    torch.manual_seed(2)
    model = inn.INN(vocab=9, neurons=2, width=8, rounds=1, identity="silent").eval()
    with torch.no_grad():
        for name in ("head", "recall.into", "backbone.rounds.0.memory.out_proj"):
            weight: Any = model.get_submodule(name).weight
            weight.mul_(8)
    return INNForCausalLM.wrap(model)


PATHS = ["", "inn", "inn.backbone", "inn.recall", "inn.backbone.rounds.0.memory", "inn.backbone.rounds.0.memory.x_proj"]


@pytest.mark.parametrize("path", PATHS)
def test_a_hook_is_heard_in_what_is_generated(path):
    model, prompt = build(), torch.tensor([[1, 2, 3, 1, 2]])
    plain = model.generate(prompt, max_new_tokens=6, do_sample=False, output_logits=True, return_dict_in_generate=True)

    def hook(module, args, output):
        first = output.logits if path == "" else output[0] if isinstance(output, tuple) else output
        first.mul_(1.5).add_(0.5)
        return output

    model.get_submodule(path).register_forward_hook(hook)
    out = model.generate(prompt, max_new_tokens=6, do_sample=False, output_logits=True, return_dict_in_generate=True)
    cached = torch.stack(out.logits, 1)
    assert not torch.allclose(cached, torch.stack(plain.logits, 1))
    out = model.generate(
        prompt, max_new_tokens=6, do_sample=False, output_logits=True, return_dict_in_generate=True, use_cache=False
    )
    torch.testing.assert_close(torch.stack(out.logits, 1), cached, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [INNForCausalLM, INNForSequenceClassification])
def test_trainer_decays_what_may_decay(kind, tmp_path):
    model = kind(build().config)
    trainer = Trainer(model=model, args=TrainingArguments(str(tmp_path), report_to=[], use_cpu=True, weight_decay=0.1))
    names = {name for name, _ in model.named_parameters()}
    assert names & set(trainer.get_decay_parameter_names(model)) == names - no_decay(model)
    plain = torch.nn.ModuleDict({"gain": torch.nn.Linear(2, 2), "norm": torch.nn.LayerNorm(2)})
    assert trainer.get_decay_parameter_names(plain) == ["gain.weight"]


@pytest.mark.parametrize("kind", [INNForCausalLM, INNForSequenceClassification])
def test_a_model_that_was_emptied_starts_anew(kind):
    with torch.device("meta"):
        model = kind(build().config)
    model.to_empty(device="cpu")
    for t in model.parameters():
        t.data.fill_(torch.nan)
    model.init_weights()
    assert all(t.isfinite().all() for t in model.parameters())
    assert model.inn.head.weight is model.inn.embedding.weight
