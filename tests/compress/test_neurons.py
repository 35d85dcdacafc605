"""Neurons of MLPs that are cut: which, what reads the others, and the narrower model as a folder."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
import transformers

from inn.compress import PLANS, compress, folder
from inn.compress.allocate import spread
from inn.compress.blocks import find_blocks, weight_of
from inn.compress.neurons import fitted, members, ranking
from inn.compress.neurons_layers import widths_of
from inn.compress.run import coverage
from inn.system.errors import InputError

from .conftest import TOKENS, llama
from .families import tiny


def lost(weight, moment, kept):
    gap = weight.index_add(1, kept, fitted(weight, moment, kept, 0.0), alpha=-1)
    return float(((gap @ moment) * gap).sum())


@pytest.mark.parametrize("together", [1, 4])
def test_neurons_go_in_the_order_in_which_they_cost_the_least(together, monkeypatch):
    monkeypatch.setattr("inn.compress.neurons.AT_ONCE", together)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 6, dtype=torch.double, generator=generator)
    x = torch.randn(40, 6, dtype=torch.double, generator=generator) @ torch.rand(
        6, 6, dtype=torch.double, generator=generator
    )
    found = ranking(weight, x.T @ x, 0.0)
    left = list(range(6))
    for last in range(5, 0, -1):  # by trying each: what is lost is known from there, not from an inverse
        best = min(left, key=lambda j: lost(weight, x.T @ x, torch.tensor([i for i in left if i != j])))
        assert found.order[last] == best
        left.remove(best)
    assert (found.energies.diff() <= 0).all()
    three = lost(weight, x.T @ x, found.order[:3].sort().values)
    all_ = [lost(weight, x.T @ x, torch.tensor(kept)) for kept in combinations(range(6), 3)]
    assert three <= sorted(all_)[len(all_) // 4]


def test_heads_go_whole_and_the_cheapest_first():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 8, dtype=torch.double, generator=generator)
    x = torch.randn(40, 8, dtype=torch.double, generator=generator) @ torch.rand(
        8, 8, dtype=torch.double, generator=generator
    )
    found = ranking(weight, x.T @ x, 0.0, units=4)
    left, most = list(range(4)), 0.0
    for last in range(3, 0, -1):

        def without(j, left=left):
            return lost(weight, x.T @ x, members(torch.tensor([i for i in left if i != j]), 2))

        gone = min(left, key=without)
        assert found.order[last] == gone
        whole = lost(weight, x.T @ x, members(torch.tensor(left), 2))
        most = max(most, without(gone) - whole)  # what a head adds that is worth more once another has gone
        assert found.energies[last] == pytest.approx(most, rel=1e-6)
        left.remove(gone)


LOSE_HEADS = {"Llama", "Qwen2", "Qwen3", "Mistral", "Gemma2", "Phi", "BertLMHeadModel"}
"""The architectures of those below whose attention computes with fewer heads; all but BERT say so by head_dim."""


@pytest.mark.parametrize("family", [*sorted(LOSE_HEADS), "OPT", "GPT2LMHeadModel", "Phi3", "Olmo2"])
def test_heads_are_cut_where_attention_computes_without_them(family, tmp_path):
    small = tiny(family)
    before, attention = small(TOKENS).logits, {n: p.clone() for n, p in small.named_parameters() if "att" in n}
    plan = replace(PLANS["heads"], neurons=False)
    if family not in LOSE_HEADS:
        with pytest.raises(InputError, match="nor attention whose heads can be: q, k, v and o"):
            compress(small, TOKENS, plan, 0.5)
        assert all(torch.equal(p, attention[name]) for name, p in small.named_parameters() if name in attention)
        return
    with torch.no_grad():  # nobody hears one head of each layer: that one goes, and nothing changes
        for name, p in small.named_parameters():
            if name.endswith(("o_proj.weight", "self_attn.dense.weight", "attention.output.dense.weight")):
                p[:, : p.shape[1] // 2] = 0
    before = small(TOKENS).logits
    outcome = compress(small, TOKENS, plan, 0.5)
    assert [group[0].role for group, _ in outcome.neurons] == ["o"] * 2
    assert max(outcome.lost.values()) < 1e-9
    after = small(TOKENS).logits
    assert torch.allclose(after, before, atol=1e-5)
    cache = small(TOKENS[:, :-1], use_cache=True).past_key_values
    assert cache.layers[0].keys.shape[1] == (2 if family in ("Phi", "BertLMHeadModel") else 1)
    assert torch.allclose(small(TOKENS[:, -1:], past_key_values=cache).logits[:, 0], after[:, -1], atol=1e-5)
    folder.save(small, tmp_path / "one")
    assert ("quantization_config" in (tmp_path / "one/config.json").read_text()) == (family == "BertLMHeadModel")
    assert torch.equal(type(small).from_pretrained(tmp_path / "one").eval()(TOKENS).logits, after)


def test_neurons_and_heads_compete_for_one_budget(small):
    whole = sum(p.numel() for p in small.model.layers.parameters() if p.ndim > 1)
    with torch.no_grad():
        small.model.layers[1].self_attn.o_proj.weight[:, :16] = 0  # of this head nobody hears anything
    outcome = compress(small, TOKENS, replace(PLANS["heads"], allocate="energy"), 0.7)
    left = sum(p.numel() for p in small.model.layers.parameters() if p.ndim > 1)
    assert 0.6 < left / whole <= 0.7
    assert [(group[0].layer, kept) for group, kept in outcome.neurons if group[0].role == "o"] == [(1, 1)]
    before = small(TOKENS).logits
    assert torch.allclose(folder.merge(small)(TOKENS).logits, before, atol=1e-5)  # heads are added that say nothing


def test_neurons_that_others_tell_of_cost_nothing():
    small = llama().eval()
    with torch.no_grad():
        for layer in small.model.layers:  # the second half says what the first does
            for part in (layer.mlp.gate_proj, layer.mlp.up_proj):
                part.weight[24:] = part.weight[:24]
    before = small(TOKENS).logits
    outcome = compress(small, TOKENS, "neurons", 0.5)
    assert [kept for _, kept in outcome.neurons] == [24] * 4
    assert torch.allclose(small(TOKENS).logits, before, atol=1e-3)
    assert max(outcome.lost.values()) < 3e-4


@torch.no_grad()
def test_neurons_that_nobody_reads_go_and_nothing_changes(model):
    if type(model).__name__ == "MambaForCausalLM":
        return
    blocks = find_blocks(model)
    for block, place in blocks.items():
        if block.role == "d":
            weight = weight_of(model, place)
            weight[:, : weight.shape[1] // 2] = 0
    before = model(TOKENS).logits
    compress(model, TOKENS, "neurons", 0.5)
    assert torch.allclose(model(TOKENS).logits, before, atol=1e-5)


def test_as_many_in_every_layer_is_an_ordinary_model(model, tmp_path):
    model.eval()
    if type(model).__name__ == "MambaForCausalLM":
        with pytest.raises(InputError, match="no MLP is compressed"):
            compress(model, TOKENS, "neurons", 0.5)
        return
    attention = {name: p.clone() for name, p in model.named_parameters() if "att" in name}
    compress(model, TOKENS, "neurons", 0.5)
    assert all(torch.equal(p, attention[name]) for name, p in model.named_parameters() if name in attention)
    folder.save(model, tmp_path)
    assert "quantization_config" not in (tmp_path / "config.json").read_text()
    again, told = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not {*told["missing_keys"], *told["mismatched_keys"]}
    assert torch.equal(again.eval()(TOKENS).logits, model(TOKENS).logits)


def test_layers_of_different_widths_open_or_are_refused_and_are_levelled(model, tmp_path):
    model.eval()
    plan = replace(PLANS["neurons"], allocate="energy", topology="svd-llm")
    outcome = compress(model, TOKENS, plan, 0.5)
    mamba = type(model).__name__ == "MambaForCausalLM"
    assert bool(outcome.neurons) == bool(widths_of(model)) != mamba
    before = model(TOKENS).logits
    folder.save(model, tmp_path / "one")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "one").eval()
    assert torch.equal(again(TOKENS).logits, before)
    folder.save(again, tmp_path / "two")  # and what is saved of that
    assert (tmp_path / "two/config.json").read_text() == (tmp_path / "one/config.json").read_text()
    folder.merge(again).save_pretrained(tmp_path / "three")
    assert "quantization_config" not in (tmp_path / "three/config.json").read_text()
    level = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "three").eval()
    assert torch.allclose(level(TOKENS).logits, before, atol=1e-4)


def test_what_a_plan_of_neurons_covers(model):
    if type(model).__name__ == "MambaForCausalLM":
        return
    mine = coverage(model, TOKENS, "neurons")
    assert mine.covered == sum(p.numel() for n, p in model.named_parameters() if "mlp" in n and p.ndim > 1)


def test_units_and_ranks_compete_by_what_a_parameter_carries():
    units, ranks = torch.tensor([9.0, 8.0, 0.1, 0.1]), torch.tensor([5.0, 0.1, 0.1, 0.1])
    shapes = [[(4, 4), (4, 4)], [(4, 4)]]  # a unit costs 8, a rank 8, all 32 and 16
    assert spread([units, ranks], shapes, 0.5, least=0.0, units={0}) == [2, 1]
    assert spread([units, ranks], shapes, 1.0, units={0}) == [None, None]
