"""A model that was really trained: stories260K (MIT), where its file is at hand; 260,032 parameters, grouped keys.

Random weights have no directions that matter more than others, so only here can plans be told apart. Texts are the
model's own: no tokenizer is needed for what it writes.
"""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inn.compress import PLANS, compress
from inn.compress.measure import score

transformers = pytest.importorskip("transformers")

HEADER = "dim hidden layers heads kv_heads vocab length".split()


@pytest.fixture(scope="module")
def weights() -> Path:
    path = Path(os.environ.get("INN_DATA", "data")).parent / "models" / "stories260K.bin"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


def read(path: Path):
    """The model of a llama2.c file (version 0), as transformers has it."""
    content = path.read_bytes()
    c = dict(zip(HEADER, struct.unpack("7i", content[:28])))
    numbers = torch.from_numpy(np.frombuffer(content, dtype="<f4", offset=28).copy())
    d, h, n, kv = c["dim"], c["hidden"], c["layers"], c["dim"] // c["heads"] * c["kv_heads"]
    at = 0

    def take(*shape):
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return numbers[at - count : at].view(shape)

    def turned(w, heads):
        """Rows from interleaved rotary pairs to two halves."""
        return w.view(heads, -1, 2, w.shape[1]).transpose(1, 2).reshape(w.shape)

    embedding, attention_norm = take(c["vocab"], d), take(n, d)
    q, k, v, o = take(n, d, d), take(n, kv, d), take(n, kv, d), take(n, d, d)
    mlp_norm, gate, down, up, last = take(n, d), take(n, h, d), take(n, d, h), take(n, h, d), take(d)
    config = transformers.LlamaConfig(
        vocab_size=c["vocab"], hidden_size=d, intermediate_size=h, num_hidden_layers=n, num_attention_heads=c["heads"],
        num_key_value_heads=c["kv_heads"], max_position_embeddings=c["length"], rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    tensors = {"model.embed_tokens.weight": embedding, "model.norm.weight": last, "lm_head.weight": embedding}
    for i in range(n):
        tensors |= {
            f"model.layers.{i}.{name}.weight": w
            for name, w in {
                "input_layernorm": attention_norm[i], "post_attention_layernorm": mlp_norm[i],
                "self_attn.q_proj": turned(q[i], c["heads"]), "self_attn.k_proj": turned(k[i], c["kv_heads"]),
                "self_attn.v_proj": v[i], "self_attn.o_proj": o[i],
                "mlp.gate_proj": gate[i], "mlp.down_proj": down[i], "mlp.up_proj": up[i],
            }.items()
        }  # fmt: skip
    model.load_state_dict(tensors)
    return model


@pytest.fixture(scope="module")
def written(weights) -> torch.Tensor:
    """What the model writes: `[24, 128]`."""
    torch.manual_seed(0)
    start = torch.ones(24, 1, dtype=torch.long)
    return read(weights).generate(start, max_new_tokens=127, min_new_tokens=127, do_sample=True, top_k=0)


def perplexity(model, text):
    return score(model, text.flatten(), window=text.shape[1]).perplexity


@pytest.fixture(scope="module")
def found(weights, written):
    """Perplexities on one half of the text of plans calibrated on the other, all projections at half their size."""
    by_plan = {"dense": perplexity(read(weights), written[12:])}
    for plan in ("svd", "asvd", "svd-llm", "basis-sharing", "in-layer", "groups"):
        model = read(weights)
        compress(model, written[:12], plan, 0.6)
        by_plan[plan] = perplexity(model, written[12:])
    return by_plan


def test_the_file_is_read_rightly(weights, found):
    model = read(weights)
    assert sum(p.numel() for p in model.parameters()) == 260_032
    assert found["dense"] < 15  # of 512 symbols: it knows its language


def test_what_is_known_of_the_text_pays(found):
    assert found["svd-llm"] < 0.7 * found["svd"]
    assert found["in-layer"] < found["svd-llm"]


def test_the_search_is_ahead_of_the_published_plans(found):
    published = ("svd", "asvd", "svd-llm", "basis-sharing", "in-layer")
    assert found["groups"] < 0.7 * min(found[plan] for plan in published)


def test_weights_stay_dense_where_states_would_cost_as_much(weights, written):
    model = read(weights)
    outcome = compress(model, written[:12], "groups", 0.8)
    assert 0.3 < len(outcome.dense) / len(outcome.blocks) < 0.9
    # What the even share loses everywhere is lost in few places then.
    even = read(weights)
    compress(even, written[:12], replace(PLANS["groups"], allocate="even"), 0.8)
    assert perplexity(model, written[12:]) < 0.8 * perplexity(even, written[12:])


def test_the_search_is_as_good_as_hand_made_topologies(weights, written, found):
    for topology in ("svd-llm", "in-layer"):
        model = read(weights)
        compress(model, written[:12], replace(PLANS["groups"], topology=topology), 0.6)
        assert found["groups"] < 1.05 * perplexity(model, written[12:])


def test_keys_that_are_grouped_share_with_queries(weights, written, tmp_path):
    model = read(weights)
    from inn.compress import folder

    outcome = compress(model, written[:12], replace(PLANS["in-layer"], topology="qkv"), 0.8)
    group, rank = outcome.groups[0]
    assert {block.role for block in group} == {"q", "k", "v"}
    assert rank == round(0.8 * (64 * 64 + 2 * 32 * 64) / (64 + 32 + 32 + 64))
    folder.save(model, tmp_path)
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert perplexity(back, written[12:]) == pytest.approx(perplexity(model, written[12:]), rel=1e-5)


def test_neurons_that_are_cut_beat_low_rank_everywhere(weights, written, found):
    model = read(weights)
    compress(model, written[:12], "auto", 0.6)
    assert perplexity(model, written[12:]) < 0.9 * min(found[plan] for plan in found if plan != "dense")
