"""Two streams of a text: what blocks are to make up for, in layers of several kinds."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.compress.conftest import TOKENS, transformers

from inn.compress import compress
from inn.compress.blocks import find_blocks
from inn.compress.calibrate import Stream
from inn.compress.following import Following, Read
from inn.system.errors import InputError


def following(model):
    return Following(model, TOKENS, find_blocks(model))


def test_what_adds_to_a_layers_input_is_found_in_every_architecture(model):
    follow = following(model)
    follow.advance(1)
    adding = {path.split(".")[-1] for path in follow._adding}
    kind = type(model).__name__
    assert adding == ({"out_proj"} if kind.startswith("Mamba") else {"c_proj"} if kind.startswith("GPT2") else
                      {"o_proj", "down_proj"})  # fmt: skip


def test_a_layer_that_normalises_what_it_adds_is_left_alone():
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    model = transformers.Gemma2ForCausalLM(config).eval()
    follow = following(model)
    follow.advance(0)
    assert follow._adding == []
    (block,) = (b for b in find_blocks(model) if (b.layer, b.role) == (0, "d"))
    assert follow.read([block])[block].behind is None


def test_nothing_has_drifted_in_a_model_that_has_not_changed(small):
    follow = following(small)
    follow.advance(1)
    for block in (b for b in find_blocks(small) if b.layer == 1):
        read = follow.read([block])[block]
        torch.testing.assert_close(read.cross, read.moment)
        assert read.behind is None or read.behind.abs().max() < 1e-3 * read.moment.abs().max()
        assert (read.behind is None) == (block.role not in "od")


def test_blocks_that_are_read_at_once_make_up_for_drift_once(small):
    follow = following(small)
    follow.advance(1)
    reads = follow.read(b for b in find_blocks(small) if b.layer == 1)
    assert [block.role for block, read in reads.items() if read.behind is not None] == ["d"]


@torch.no_grad()
def test_the_last_block_of_a_layer_makes_up_for_its_drift(small):
    """Its weights are corrected to what brings the layer's output nearest to the dense one."""
    blocks = find_blocks(small)
    follow = Following(small, TOKENS, blocks)
    follow.advance(2)
    wanted = torch.cat([y.flatten(0, 1) for y in follow._after])
    small.model.layers[2].self_attn.o_proj.weight.mul_(0.5)
    (block,) = (b for b in blocks if (b.layer, b.role) == (2, "d"))
    read = follow.read([block])[block]
    weight = small.get_submodule(blocks[block].path).weight

    def gap():
        now = torch.cat([y.flatten(0, 1) for y in follow.stream.run(2)])
        return float((now - wanted).norm() / wanted.norm())

    before = gap()
    weight.copy_(read.corrected(weight.double()))
    assert gap() < 0.9 * before


def test_what_is_behind_is_made_up_for_as_far_as_inputs_tell():
    torch.manual_seed(0)
    x = torch.randn(500, 6, dtype=torch.float64)
    w, more = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    moment = x.T @ x
    found = Read(moment, moment, x.T @ (x @ more.T)).corrected(w)
    torch.testing.assert_close(found, w + more, rtol=0.02, atol=0.05)  # the ridge
    torch.testing.assert_close(Read(moment, moment).corrected(w), w)


@pytest.mark.parametrize("plan", ["auto", "heads", "groups", "ugd|o"])
def test_a_layer_is_not_run_again_where_its_last_block_tells_its_output(model, plan, monkeypatch):
    twin, runs, run = copy.deepcopy(model), [0, 0], Stream.run
    for i, one in enumerate((model, twin)):

        def counted(self, *args, i=i):
            runs[i] += 1
            return run(self, *args)

        monkeypatch.setattr(Stream, "run", counted)
        torch.manual_seed(0)
        try:
            compress(one, TOKENS, plan, 0.6)
        except InputError:  # Mamba has none of these
            return
        monkeypatch.setattr(Following, "becomes", lambda *_: None)
    torch.testing.assert_close(model(TOKENS).logits, twin(TOKENS).logits, atol=1e-4, rtol=1e-3)
    assert (runs[0] < runs[1]) == (plan in ("auto", "heads"))  # the others' last blocks change with blocks before them
