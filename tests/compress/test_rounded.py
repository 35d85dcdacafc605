"""Weights in a few bits: what a folder holds, and what it opens as."""

import pytest
import torch

from inn.compress import compress
from inn.compress.decoder import open_decoder
from inn.compress.folder import merge, round_to, save
from inn.compress.pipeline import run
from inn.compress.rounded import rounded, widened
from inn.system.errors import InputError

from .conftest import TOKENS, llama


@pytest.mark.parametrize("bits", range(2, 9))
def test_numbers_are_off_by_half_a_step_and_stay_where_they_are(bits):
    w = torch.randn(37, 29, generator=torch.Generator().manual_seed(0))
    packed = rounded(w, bits)
    assert packed.shape == (34 * (2 + 4 * bits),)  # 34 groups, the last not full
    again = widened(packed, bits, w.shape)
    true, ours = (torch.nn.functional.pad(x.flatten(), (0, 15)).view(-1, 32) for x in (w, again))
    step = true.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    plain = (true / step).round() * step
    off, plainly = ((x - true).square().sum(1) for x in (ours, plain))
    assert (off <= plainly * 1.05 + 1e-6).all()  # a scale of float16 costs a little
    assert torch.equal(rounded(again, bits), packed)


@pytest.mark.parametrize("keep, tied", [(0.5, True), (None, False)])
def test_a_folder_of_bytes_opens_as_what_was_saved(keep, tied, tmp_path):
    torch.manual_seed(0)
    model = llama(tie_word_embeddings=tied).eval()
    if keep is not None:
        compress(model, TOKENS, "qkv-ug-d", keep)
    before = model(TOKENS).logits
    save(round_to(model, 8), tmp_path / "small")
    size = (tmp_path / "small" / "model.safetensors").stat().st_size
    assert size < 0.3 * 4 * sum(p.numel() for p in model.parameters()) + 12_000  # and the file's head
    import transformers

    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small").eval()
    assert torch.equal(again(TOKENS).logits, model(TOKENS).logits)
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == tied
    assert 0 < (model(TOKENS).logits - before).abs().max() < 0.05
    again.save_pretrained(tmp_path / "twice")
    twice = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "twice").eval()
    assert torch.equal(twice(TOKENS).logits, model(TOKENS).logits)
    merge(again).save_pretrained(tmp_path / "dense")
    dense = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "dense").eval()
    torch.testing.assert_close(dense(TOKENS).logits, model(TOKENS).logits, atol=1e-5, rtol=1e-4)


def test_bits_out_of_range_are_refused():
    with pytest.raises(InputError, match="bits must be 2 to 8, not 9"):
        round_to(llama(), 9)


@pytest.mark.parametrize("plan, share", [("svd-llm", 0.5), ("svd-llm", 1.0), ("cache", 0.5)])
def test_the_command_rounds_with_states_and_without(plan, share, decoder, tmp_path):
    more = {"rows": 2, "length": 16, "windows": 2, "bits": 6}
    found = run(decoder / "model", decoder / "text", tmp_path / "out", plan, share, **more)
    assert bool(found["groups"]) == (share < 1)
    model, _ = open_decoder(tmp_path / "out")
    assert model.config.quantization_config.bits == found["bits"] == 6
    with pytest.raises(InputError, match="leave out --dense, or --bits"):
        run(decoder / "model", decoder / "text", tmp_path / "other", "svd-llm", share, **more, dense=True)
