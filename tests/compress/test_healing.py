"""Healing from the dense model, adapters, and quantisation of what was compressed."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from inn.compress import compress, folder
from inn.compress.blocks import neuronal
from inn.compress.healing import Stage, heal
from inn.compress.plans import PLANS
from inn.system.errors import InputError

from .conftest import TOKENS

UNFITTED = PLANS["svd"]
"""Plain SVD: there is something left to learn."""
TEXT = TOKENS.flatten()


def loss(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS, labels=TOKENS).loss.item()


def far(model, dense):
    with torch.no_grad():
        return (model(input_ids=TOKENS).logits - dense(input_ids=TOKENS).logits).square().mean().item()


@pytest.fixture
def pair(small):
    for p in small.parameters():  # logits that say something
        p.data.mul_(3)
    dense = copy.deepcopy(small)
    compress(small, TOKENS, UNFITTED, 0.5)
    return small, dense


@pytest.mark.parametrize("match", ["blocks", "layers", "logits"])
def test_the_model_comes_closer_and_only_what_is_trained_moves(model, match):
    dense = copy.deepcopy(model)
    mamba = type(model).__name__ == "MambaForCausalLM"
    compress(model, TOKENS, replace(UNFITTED, topology="{in_proj}-o") if mamba else UNFITTED, 0.5)
    states = {id(p) for _, layer in neuronal(model) for p in (layer.reads.weight, *layer.write.parameters())}
    before = {name: p.clone() for name, p in model.named_parameters()}
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    distance = far(model, dense)
    found = heal(model, dense, TEXT, steps=30, recipe=(Stage(match, 0.1 if match == "blocks" else 0.03),), length=24)
    assert found.losses[-1] < found.losses[0]
    assert far(model, dense) < 0.97 * distance
    layers = ".h." if hasattr(model, "transformer") else ".layers."
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) or id(p) in states or (match != "blocks" and layers in name), name
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
    assert all(p.grad is None for p in (*dense.parameters(), *model.parameters()))


def test_the_divergence_and_its_gradient_are_those_of_pytorch():
    from inn.compress.healing_losses import _Divergence

    made, wanted = (torch.randn(2, 5, 7, dtype=torch.float32, requires_grad=grad) for grad in (True, False))
    log = torch.log_softmax
    expected = torch.nn.functional.kl_div(log(made, -1), log(wanted, -1), log_target=True, reduction="sum") / 10
    (gradient,) = torch.autograd.grad(expected, made)
    found = _Divergence.apply(made, wanted)
    found.backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(made.grad, gradient)


def test_an_interrupted_healing_goes_on_bit_for_bit(pair, tmp_path):
    small, dense = pair
    whole, state = copy.deepcopy(small), tmp_path / "state"
    options = {"steps": 40, "length": 12, "recipe": (Stage("layers", share=0.4), Stage("logits", share=0.6))}
    expected = heal(whole, dense, TEXT, **options)

    def stop(done, of):
        if done == 27:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        heal(copy.deepcopy(small), dense, TEXT, **options, state=state, report=stop)
    with pytest.raises(InputError, match=r"begun with other text and seed, so it cannot go on .* delete '.*state'"):
        heal(copy.deepcopy(small), dense, TEXT[1:], **options, state=state, seed=1)
    begun = []
    found = heal(small, dense, TEXT, **options, state=state, report=lambda done, of: begun.append(done))
    assert begun[0] == 21  # after the second look
    assert found.scales == expected.scales
    assert (found.losses, found.after) == (expected.losses, expected.after)
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), whole.parameters()))
    assert not state.exists()
    state.write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read; delete"):
        heal(small, dense, TEXT, **options, state=state)


def test_of_its_rate_the_part_is_taken_that_helps(pair):
    small, dense = pair
    found = [
        heal(copy.deepcopy(small), dense, TEXT, steps=40, recipe=(Stage("logits", rate),), length=24)
        for rate in (3.0, 9.0)
    ]
    assert [one.scales for one in found] == [[1.0], [1 / 3]]
    assert found[0].after == found[1].after < 0.9 * found[0].before


def test_never_worse_than_before(pair):
    _, dense = pair
    small = copy.deepcopy(dense)
    small.model.layers[0].mlp.up_proj.weight.data.mul_(1.01)
    before = copy.deepcopy(small)
    found = heal(small, dense, TEXT, steps=4, recipe=(Stage("logits", 3e4),), length=24)
    assert found.kept == 0
    assert found.after == found.before
    assert "nothing was gained" in str(found)
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), before.parameters()))


def test_fewer_neurons_and_minutes(small):
    """A plain model with fewer neurons in its layers is healed like any other, in the type that it has."""
    dense = copy.deepcopy(small)
    for layer in small.model.layers:
        for name in ("gate_proj", "up_proj"):
            projection = getattr(layer.mlp, name)
            projection.weight = torch.nn.Parameter(projection.weight[:24].detach().clone())
        layer.mlp.down_proj.weight = torch.nn.Parameter(layer.mlp.down_proj.weight[:, :24].detach().clone())
    small, dense = small.bfloat16(), dense.bfloat16()
    found = heal(small, dense, TEXT, 0.02, length=24)
    assert found.steps > 0
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}
    with pytest.raises(InputError, match="no neuronal groups, which recipe 'ngc' trains"):
        heal(small, dense, TEXT, steps=1, recipe="ngc", length=24)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "minutes or steps; give one"),
        ({"minutes": 1, "steps": 1}, "minutes or steps; give one"),
        ({"minutes": -1}, "more than 0 minutes, not -1"),
        ({"steps": 1, "recipe": "best"}, "recipe 'best'"),
        ({"steps": 1, "length": 200}, "216 symbols and two rows take 400"),
    ],
)
def test_what_cannot_be_healed(small, options, said):
    with pytest.raises(InputError, match=said):
        heal(small, small, TEXT, **{"length": 24, **options})


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
