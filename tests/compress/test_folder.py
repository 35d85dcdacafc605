"""A compressed model as a folder: opened by transformers, fine-tuned, merged back to dense, refused if broken."""

import json
import subprocess
import sys

import pytest
import torch
import transformers

from inn.compress import compress, folder
from inn.compress.blocks import find_blocks, neuronal
from inn.compress.measure import score, size, writing_speeds
from inn.compress.plans import CompressionPlan
from inn.system.errors import InputError

from .conftest import TOKENS


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


@pytest.mark.parametrize("plan", ["auto", "hybrid5"])
def test_a_folder_gives_the_same_model_back(model, plan, tmp_path):
    if plan != "auto" and type(model).__name__ == "MambaForCausalLM":
        pytest.skip("it has no queries, keys and values")
    compress(model, TOKENS, plan, 0.5)
    wanted = logits(model)
    folder.save(model, tmp_path)
    back, told = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert torch.equal(logits(back), wanted)
    assert {p: id(m.reads) for p, m in neuronal(back)}.keys() == dict(neuronal(model)).keys()
    assert len({id(m.reads) for _, m in neuronal(back)}) == len({id(m.reads) for _, m in neuronal(model)})
    back.save_pretrained(tmp_path / "again")
    assert torch.equal(logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again")), wanted)


def test_merged_back_it_is_an_ordinary_dense_model(model, tmp_path):
    kinds = [type(m) for m in model.modules() if not hasattr(m, "nf")]
    compress(model, TOKENS, "auto", 0.6)
    wanted = logits(model)
    folder.save(model, tmp_path / "small")
    dense = folder.merge(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small"))
    torch.testing.assert_close(logits(dense), wanted, rtol=1e-4, atol=1e-5)
    assert [type(m) for m in dense.modules() if not hasattr(m, "nf")] == kinds
    assert "quantization_config" not in dense.config.to_dict()
    dense.save_pretrained(tmp_path / "dense")
    again = type(model).from_pretrained(tmp_path / "dense")
    torch.testing.assert_close(logits(again), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_folder_opens_by_itself_where_its_code_is_trusted(small, tmp_path):
    """In a process that never imports `inn` by itself."""
    compress(small, TOKENS, "in-layer", 0.5)
    wanted = logits(small)
    folder.save(small, tmp_path)
    torch.save((TOKENS, wanted), tmp_path / "wanted.pt")
    code = f"""
import torch, transformers
model = transformers.AutoModelForCausalLM.from_pretrained({str(tmp_path)!r}, trust_remote_code=True).eval()
tokens, wanted = torch.load({str(tmp_path / "wanted.pt")!r})
with torch.no_grad():
    assert torch.equal(model(input_ids=tokens).logits, wanted)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert found.returncode == 0, found.stderr[-2000:]


def test_a_compressed_model_can_be_fine_tuned(small):
    compress(small, TOKENS, "auto", 0.3)
    small.train()
    optimizer = torch.optim.Adam(small.parameters(), 3e-3)
    losses = []
    for _ in range(20):
        loss = small(input_ids=TOKENS, labels=TOKENS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_it_writes_as_its_dense_twin_does(small):
    compress(small, TOKENS, CompressionPlan("in-layer", "moments", allocate="even"), 0.5)
    ours = small.generate(TOKENS[:2, :5], max_new_tokens=8, do_sample=False, pad_token_id=0)
    dense = folder.merge(small)
    assert torch.equal(dense.generate(TOKENS[:2, :5], max_new_tokens=8, do_sample=False, pad_token_id=0), ours)


def test_sizes_add_up(model):
    blocks = find_blocks(model)
    total = sum(p.numel() for p in model.parameters())
    before = size(model, blocks, blocks)
    assert before.total == total
    outcome = compress(model, TOKENS, "auto", 0.5)
    named = [block for group, _ in outcome.groups for block in group]
    after = size(model, blocks, named)
    assert after.total == sum(p.numel() for p in model.parameters())
    assert after.flops < before.flops
    assert (after.embeddings, before.total - after.total) == (before.embeddings, total - after.total)


def test_a_text_is_scored_in_windows(small):
    text = TOKENS.flatten()
    found = score(small, text, window=12)
    rows = text.view(-1, 12)
    with torch.no_grad():
        wanted = torch.nn.functional.cross_entropy(
            small(input_ids=rows).logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten()
        )
    assert found.nats == pytest.approx(float(wanted), rel=1e-5)
    assert (found.count, len(found.parts)) == (18 * 11, 18)


def test_speeds_are_measured(small):
    assert min(writing_speeds({"a": small, "b": small}, TOKENS[0], symbols=2, rounds=1).values()) > 0


def test_a_folder_for_another_model_is_refused(small, tmp_path):
    compress(small, TOKENS, "in-layer", 0.5)
    folder.save(small, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["groups"][0]["blocks"][0][0] = "model.layers.9.self_attn.q_proj"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="has no layers for the group"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_a_dense_model_is_not_saved_as_compressed(small, tmp_path):
    with pytest.raises(InputError, match="holds no neuronal groups"):
        folder.save(small, tmp_path)
