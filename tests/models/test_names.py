"""A model's graph is its child `backbone`; weights saved under `graph` load, alone and inside another module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import inn
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.models.names import current, filed


def models(kind):
    torch.manual_seed(0)
    return [build_model(model_config(kind, vocab=11, width=16)) for _ in range(2)]


@pytest.mark.parametrize("kind", ["inn", "mamba-stack", "mamba-stack-transposed"])
@pytest.mark.parametrize("inside", [False, True])
def test_weights_of_before_load(kind, inside):
    ours, other = models(kind)
    prefix = "1." if inside else ""
    of_then = {prefix + filed(name): t for name, t in ours.state_dict().items()}
    assert any(name.startswith(f"{prefix}graph.rounds") for name in of_then)
    (nn.Sequential(nn.Identity(), other) if inside else other).load_state_dict(of_then)
    for name, t in ours.state_dict().items():
        assert torch.equal(other.state_dict()[name], t)
        assert current(filed(name)) == name


def test_the_graph_is_reached_and_replaced_by_its_word():
    ours, other = models("inn")
    assert ours.graph is ours.backbone is ours.get_submodule("graph")
    ours.graph = other.graph
    assert ours.graph is other.backbone
    assert "graph" not in dict(ours.named_children())


def test_what_is_missing_is_said():
    ours, _ = models("inn")
    tensors = {filed(name): t for name, t in ours.state_dict().items()}
    del tensors["graph.ids"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"backbone\.ids"'):
        ours.load_state_dict(tensors)


def test_parts_keep_their_words():
    assert {"embedding", "graph", "head"} <= inn.INN(vocab=11, neurons=2, width=8, rounds=1).parameters_by_part().keys()
