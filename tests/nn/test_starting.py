"""What is known of a parameter belongs to its module: whether it decays, where it starts, what it is tied to."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.nn.starting import no_decay
from inn.training.optim import parameter_groups

MODELS = {
    "inn": ("inn", {"identity": "embedding"}),
    "untied": ("inn", {"tied": False, "input": "copy", "readout": "attention", "gate": "soft", "router": "bus"}),
    "attention": ("inn", {"router": "attention", "router_options": {"qk_norm": True}, "identity": "silent"}),
    "mixing": ("inn", {"router": "mixing", "embedding_width": 8}),
    "communal": ("inn", {"weights": "communal", "communal_states": 4}),
    "adaptive": ("inn", {"head": "adaptive", "cutoffs": [5, 12], "tied": False}),
    "mamba-stack": ("mamba-stack", {}),
    "lstm": ("lstm", {"tied": True}),
    "gru": ("gru", {"tied": True}),
    "transformer": ("transformer", {}),
    "transformer-paper": ("transformer-paper", {}),
}
TIED = [
    name for name in MODELS if name not in ("untied", "adaptive", "lstm", "gru", "transformer", "transformer-paper")
]


def build(name: str) -> Any:
    kind, fields = MODELS[name]
    sizes = {"neurons": 2, "width": 16, "rounds": 2} if kind == "inn" else {"width": 16}
    return build_model(model_config(kind, vocab=27, **sizes, **fields))


@pytest.mark.parametrize("name", MODELS)
def test_what_decays_is_matrices_that_weigh_what_is_read(name):
    names = {n for n, _ in build(name).named_parameters()}
    decaying = names - no_decay(build(name))
    assert decaying
    for n in decaying:
        last = n.rsplit(".", 1)[-1]
        assert "bias" not in last
        assert last not in ("A_log", "D", "identity", "identity_gain", "query_gain", "key_gain")
        assert not n.startswith(("embedding.", "recall.symbol", "recall.gain", "recall.shift"))
        assert "norm" not in n
    for n in names - decaying:
        assert n.rsplit(".", 1)[-1] not in ("conv_weight", "x_proj", "out_proj", "qkv", "read")


@pytest.mark.parametrize("name", MODELS)
def test_it_survives_copies_meta_and_loading(name):
    from accelerate import init_empty_weights

    model = build(name)
    known = no_decay(model)
    with torch.device("meta"):
        meta = build(name)
    assigned = copy.deepcopy(meta)
    assigned.load_state_dict(model.state_dict(), assign=True)
    with init_empty_weights():
        empty = build(name)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (
        copy.deepcopy(model),
        meta,
        meta.to_empty(device="cpu"),
        assigned,
        empty,
        torch.load(file, weights_only=False),
    ):
        assert no_decay(other) == known


@pytest.mark.parametrize("name", TIED)
def test_ties_survive_meta_and_loading(name):
    from accelerate import init_empty_weights

    model = build(name)
    weights = model.state_dict()
    without = [{k: t for k, t in weights.items() if k != gone} for gone in ("head.weight", "embedding.weight")]
    with torch.device("meta"):
        meta = [build(name) for _ in range(4)]
    with init_empty_weights():
        meta.append(build(name))
    meta[0].to_empty(device="cpu").load_state_dict(weights)
    for m, found in zip(meta[1:4], [weights, *without], strict=True):
        m.load_state_dict(found, assign=True, strict=False)
    for m in (*meta, copy.deepcopy(model), copy.deepcopy(model).double()):
        assert m.head.weight is m.embedding.weight
        if not m.head.weight.is_meta:
            assert torch.equal(m.head.weight.float(), model.head.weight)


def test_a_head_that_was_untied_stays_untied():
    model = build("inn")
    model.head.weight = nn.Parameter(model.head.weight.detach() + 1)
    assert model.double().head.weight is not model.embedding.weight
    other = build("inn")
    other.load_state_dict(model.state_dict(), assign=True)
    assert torch.equal(other.head.weight, model.head.weight)


def test_a_weight_that_is_made_of_others_is_known_by_them():
    model = build("attention")
    plain = no_decay(model)
    parametrizations.weight_norm(model.backbone.rounds[0].memory.x_proj)
    parametrizations.weight_norm(model.backbone.rounds[0].memory, "A_log")
    prune.l1_unstructured(model.graph, "identity", 0.5)
    found = no_decay(model)
    assert {n for n in found if "A_log" in n and "rounds.0" in n} == {
        n for n, _ in model.named_parameters() if "A_log" in n and "rounds.0" in n
    }
    assert any(n.endswith("identity_orig") for n in found)
    matrix = [n for n, p in model.named_parameters() if "x_proj.parametrizations" in n and p.ndim > 1]
    assert not found.intersection(matrix)
    assert len(found) >= len(plain)


def test_groups_hold_every_trainable_parameter_once():
    model = build("inn")
    model.norm.requires_grad_(False)
    groups = parameter_groups(model, 0.1)
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    found = [id(p) for g in groups for p in g["params"]]
    assert len(set(found)) == len(found)
    assert set(found) == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("each", [False, True])
def test_a_model_that_was_emptied_starts_as_a_new_one(name, each):
    torch.manual_seed(0)
    one, two = build(name).state_dict(), build(name).state_dict()
    with torch.device("meta"):
        model = build(name)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for t in model.state_dict().values():
            t.fill_(torch.nan if t.is_floating_point() else 1)
    if each:  # as sharded training does it
        for m in model.modules():
            if hasattr(m, "reset_parameters"):
                m.reset_parameters()
    else:
        model.reset_parameters()
    for key, t in model.state_dict().items():
        assert t.isfinite().all(), key
        if torch.equal(one[key], two[key]):
            assert torch.equal(t, one[key]), key
        elif t.numel() > 100:
            assert 0.8 < t.std() / one[key].std() < 1.25, key
            assert (t.mean() - one[key].mean()).abs() < 0.5 * one[key].std(), key
    model(torch.zeros(1, 3, dtype=torch.long))
