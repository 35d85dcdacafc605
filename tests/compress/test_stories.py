"""A model that was really trained: stories260K (MIT), where its file is at hand; 260,032 parameters, grouped keys.

Random weights have no directions that matter more than others, so only here can plans be told apart. Texts are the
model's own: no tokenizer is needed for what it writes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inn.compress import PLANS, compress
from inn.compress.measure import score

transformers = pytest.importorskip("transformers")

from inn_studies.stories import read  # noqa: E402


@pytest.fixture(scope="module")
def weights() -> Path:
    path = Path(os.environ.get("INN_DATA", "data")).parent / "models" / "stories260K.bin"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


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
