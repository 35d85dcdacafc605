"""Every kind of memory inside a model: reading, stepping, recording, saving, transformers' cache, and the page."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

import inn
from inn.analysis.measures.timescale import half_lives, time_constants
from inn.hf import INNForCausalLM
from inn.registry import MEMORIES

KINDS = [kind for kind in MEMORIES if MEMORIES.origin(kind) == "built in"]
TOKENS = torch.arange(24).reshape(2, 12) % 11


def build(kind: str, **fields) -> inn.INN:
    torch.manual_seed(0)
    model = inn.INN(**{"vocab": 11, "neurons": 3, "width": 8, "rounds": 2, "memory": kind, "recall": [], **fields})
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model.double().eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_reads_it_in_any_way_and_records_it(kind, tmp_path):
    model = build(kind)
    logits, last = model(TOKENS)
    torch.testing.assert_close(model(TOKENS[:, 5:], model(TOKENS[:, :5])[1])[0], logits[:, 5:])
    now = model.initial_state(2).double()
    for t in range(12):
        step, now = model.step_(TOKENS[:, t], now)
        torch.testing.assert_close(step, logits[:, t], rtol=1e-4, atol=1e-5)
    mask, reset = torch.ones(2, 12, dtype=torch.bool), torch.zeros(2, 12, dtype=torch.bool)
    mask[:, 3], reset[:, 6] = False, True
    torch.testing.assert_close(model(TOKENS, mask=mask, reset=reset)[0][:, 6:], model(TOKENS[:, 6:])[0])
    with inn.record(model, "activity", "state") as tape:
        model(TOKENS)
    assert tape.mean("state").shape == (2, 3)
    save_file(last.to_tensors(), tmp_path / "state.safetensors")
    found = inn.State.from_tensors(load_file(tmp_path / "state.safetensors"))
    assert all(torch.equal(found[key], t) for key, t in last.items())
    assert set(found) == set(last) == set(copy.deepcopy(last))
    assert all(t.shape[:2] == (1, 2) for t in last.select_batch([1]).select_neurons([0, 2]).values())


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointed_rounds_give_the_same_gradients(kind):
    found = []
    for checkpoint in (False, True):
        model = build(kind).train()
        model.graph.checkpoint_rounds = checkpoint
        model(TOKENS)[0].sin().sum().backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(found[0]) > 5
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_measured(kind):
    model = build(kind).float()
    x = torch.randn(2, 20, 3, 8)
    lives = half_lives(model.graph, x, model.graph(torch.randn(2, 4, 24))[1])
    assert len(lives) == 3
    constants = time_constants(model.graph, x)
    assert constants is None or constants.shape[0] == 3
    assert sum(model.flops().values()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_writes_with_it_in_a_cache(kind, tmp_path):
    model = INNForCausalLM.wrap(build(kind))
    whole = model(TOKENS, use_cache=True)
    cache = model(TOKENS[:, :7], use_cache=True).past_key_values
    torch.testing.assert_close(model(TOKENS[:, 7:], past_key_values=cache).logits, whole.logits[:, 7:])
    options = {"max_new_tokens": 4, "do_sample": False}
    written = model.generate(TOKENS, **options)
    for t in range(12, 16):
        torch.testing.assert_close(model(written[:, :t]).logits[:, -1].argmax(-1), written[:, t])
    beams = model.generate(TOKENS, num_beams=2, num_return_sequences=2, **options)
    assert beams.shape == (4, 16)
    model.float().save_pretrained(tmp_path / "folder")
    loaded = INNForCausalLM.from_pretrained(tmp_path / "folder")
    assert torch.equal(loaded(TOKENS).logits, model(TOKENS).logits)
    assert torch.equal(inn.load(tmp_path / "folder")(TOKENS)[0], model(TOKENS).logits)
