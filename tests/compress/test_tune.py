"""The authors' fine-tuning, adapters, and quantisation of what was compressed."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from inn.compress import compress, folder
from inn.compress.blocks import neuronal
from inn.compress.plans import PLANS
from inn.compress.tune import tune
from inn.system.errors import InputError

from .conftest import TOKENS

UNFITTED = PLANS["svd"]
"""Plain SVD: there is something left to learn."""


def loss(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS, labels=TOKENS).loss.item()


def test_outputs_come_closer_and_nothing_else_moves(model):
    dense = copy.deepcopy(model)
    mamba = type(model).__name__ == "MambaForCausalLM"
    compress(model, TOKENS, replace(UNFITTED, topology="{in_proj}-o") if mamba else UNFITTED, 0.5)
    inside = {id(p) for _, layer in neuronal(model) for p in (layer.reads.weight, *layer.write.parameters())}
    before = {name: p.clone() for name, p in model.named_parameters()}
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    losses = tune(model, dense, TOKENS, 6, lr=3e-3)
    assert losses[-1] < 0.8 * losses[0]
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) != (id(p) in inside), name
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
    assert all(p.grad is None for p in dense.parameters())


def test_the_authors_rate_moves_little(small):
    dense = copy.deepcopy(small)
    compress(small, TOKENS, UNFITTED, 0.5)
    losses = tune(small, dense, TOKENS, 2)
    assert losses[1] < losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_what_cannot_be_tuned(small):
    with pytest.raises(InputError, match="compress it first"):
        tune(small, small, TOKENS, 1)
    dense = copy.deepcopy(small)
    compress(small, TOKENS, "in-layer", 0.5)
    with pytest.raises(InputError, match="at least 1, not 0"):
        tune(small, dense, TOKENS, 0)


def test_adapters_on_the_private_states(small, tmp_path):
    peft = pytest.importorskip("peft", reason="peft is not installed; pip install peft")
    compress(small, TOKENS, "in-layer", 0.3)
    adapted = peft.get_peft_model(small, peft.LoraConfig(r=4, target_modules=["write"], lora_alpha=8))
    before = loss(adapted)
    frozen = {name: p.clone() for name, p in adapted.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], 1e-2)
    for _ in range(40):
        adapted.train()
        found = adapted(input_ids=TOKENS, labels=TOKENS).loss
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    after = loss(adapted)
    assert after < before - 0.1
    assert all(torch.equal(p, frozen[name]) for name, p in adapted.named_parameters() if name in frozen)
    merged = adapted.merge_and_unload()
    assert loss(merged) == pytest.approx(after, abs=1e-4)
    folder.save(merged, tmp_path / "tuned")  # as ordinary a compressed model as before


def test_eight_bits(small):
    """Weights of 8 bits: of the private states, and, after a merger, of all layers."""
    pytest.importorskip("torchao", reason="torchao is not installed; pip install torchao")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    compress(small, TOKENS, "in-layer", 0.6)
    wanted = loss(small)
    states, dense = copy.deepcopy(small), folder.merge(copy.deepcopy(small))
    quantize_(states, Int8WeightOnlyConfig())
    assert "Int8" in type(next(layer for _, layer in neuronal(states)).write.weight).__name__
    assert loss(states) == pytest.approx(wanted, abs=0.02)
    quantize_(dense, Int8WeightOnlyConfig())
    assert loss(dense) == pytest.approx(wanted, abs=0.02)
