"""The latent cache: the same logits, whatever the text is cut into and whoever writes."""

import pytest
import torch

from inn.compress import compress
from inn.compress.caching import compress_cache
from inn.compress.latent import LatentCache
from inn.system.errors import InputError

from .conftest import ARCHITECTURES, TOKENS, llama, qwen

KINDS = {"llama": llama, "qwen": qwen}


def made(kind="llama", plan="kv", keep=0.6):
    torch.manual_seed(0)
    model = KINDS[kind]().eval()
    if plan is not None:
        compress(model, TOKENS, plan, keep)
    return model


@torch.no_grad()
@pytest.mark.parametrize("plan", [None, "kv", "k-v", "qkv", "kk-vv"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_ordinary_cache_however_the_text_is_cut(kind, plan):
    model = made(kind, plan)
    wanted = model(TOKENS).logits
    for cuts in ([24], [1] * 24, [7, 1, 16], [20, 4]):
        cache, found = LatentCache(model), []
        for part in TOKENS.split(cuts, 1):
            found.append(model(part, past_key_values=cache).logits)
        torch.testing.assert_close(torch.cat(found, 1), wanted, atol=2e-5, rtol=1e-4)
        assert cache.get_seq_length() == 24


WAYS = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True},
    "beams": {"num_beams": 3, "do_sample": False},
    "beams of several": {"num_beams": 4, "num_return_sequences": 2, "do_sample": False},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_is_the_same_with_padding_on_the_left(way):
    model = made()
    mask = torch.ones(3, 10, dtype=torch.long)
    mask[0, :4] = mask[1, :1] = 0
    options = {"attention_mask": mask, "max_new_tokens": 8, "min_new_tokens": 8, "pad_token_id": 0, **WAYS[way]}
    both = []
    for cache in (None, LatentCache(model)):
        torch.manual_seed(1)
        both.append(model.generate(TOKENS[:3, :10], past_key_values=cache, **options))
    assert torch.equal(*both)


@torch.no_grad()
def test_bytes_and_rounding():
    model = made()
    caches = [LatentCache(model), LatentCache(model, rounded=True)]
    whole, small = (model(TOKENS, past_key_values=cache).logits for cache in caches)
    ranks = sum(layer.self_attn.k_proj.reads.weight.shape[0] for layer in model.model.layers)
    turns = 8  # a cosine and a sine for every second number of a head of 8
    assert caches[0].nbytes == 9 * 24 * 4 * (ranks + turns)
    assert caches[1].nbytes == 9 * 24 * (ranks + 2 * 4 + 4 * turns)
    assert 0 < (whole - small).abs().max() < 0.02
    caches[1].crop(-4)  # and on, symbol by symbol, an odd number of bytes each
    torch.testing.assert_close(
        model(TOKENS[:, 20:], past_key_values=caches[1]).logits, small[:, 20:], atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("name, says", [("gpt2", "use the ordinary one"), ("mistral", "sliding window")])
def test_what_cannot_have_it_is_told(name, says):
    with pytest.raises(InputError, match=says):
        LatentCache(ARCHITECTURES[name]())


@torch.no_grad()
def test_a_cache_of_half_the_numbers_has_them_where_they_matter(tmp_path):
    torch.manual_seed(0)
    model = llama().eval()
    for layer in model.model.layers[:2]:  # rank 4 of 32
        for p in (layer.self_attn.k_proj, layer.self_attn.v_proj):
            p.weight[:] = torch.randn(len(p.weight), 4) @ torch.randn(4, 32) / 8 if p is layer.self_attn.k_proj else 0
    wanted = model(TOKENS).logits
    outcome = compress_cache(model, TOKENS, 0.6)
    assert sum(rank for _, rank in outcome.groups) + 16 * len(outcome.dense) == round(0.6 * 4 * 32)
    torch.testing.assert_close(model(TOKENS).logits, wanted, atol=1e-4, rtol=1e-3)
    cache = LatentCache(model)
    torch.testing.assert_close(model(TOKENS, past_key_values=cache).logits, wanted, atol=1e-4, rtol=1e-3)
    model.save_pretrained(tmp_path)
    opened = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(opened(TOKENS).logits, wanted, atol=1e-4, rtol=1e-3)
