"""Neurons without a memory: a map of each step by itself, in a graph that has no state at all, or beside others."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

import inn
from inn.analysis.measures.timescale import half_lives
from inn.config.assemble import graph_config
from inn.nn.memory.none import NoMemory
from inn.testing import check_memory

SMALL = {"vocab": 11, "neurons": 3, "width": 8, "rounds": 2, "memory": "none"}
TOKENS = torch.arange(24).reshape(2, 12) % 11
MIXED = [{"neurons": 1, "memory": "none"}, {"neurons": 2, "memory": "gru"}]


def model(**fields) -> inn.INN:
    torch.manual_seed(0)
    fields = {**SMALL, "recall": [], **fields}
    if "population" in fields:
        fields.pop("neurons")
    return inn.INN(**fields).eval()


def test_it_keeps_the_contract():
    check_memory("none", expand=3)


def test_it_is_a_gated_map_of_each_step():
    torch.manual_seed(0)
    m = NoMemory(graph_config(neurons=2, width=3, memory="none", router="none")).double()
    x = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    y, state = m(x, {})
    assert state == {}
    for n in range(2):
        u, z = (x[:, :, n] @ m.in_proj.weight[n].T).split(6, -1)
        torch.testing.assert_close(y[:, :, n], (u * F.silu(z)) @ m.out_proj.weight[n].T)


@pytest.mark.parametrize("recall", [[], [1, 2]])
def test_a_model_without_memory_reads_in_any_split_and_step_by_step(recall):
    m = model(recall={"kind": "last", "contexts": recall, "slots": 64, "width": 4} if recall else "none")
    logits, state = m(TOKENS)
    assert all(r == -1 for r, _ in state)
    torch.testing.assert_close(m(TOKENS[:, 5:], m(TOKENS[:, :5])[1])[0], logits[:, 5:])
    now = m.initial_state(2)
    for t in range(12):
        step, now = m.step_(TOKENS[:, t], now)
        torch.testing.assert_close(step, logits[:, t], rtol=1e-4, atol=1e-5)
    if not recall:  # the same symbols in another order before do not matter
        torch.testing.assert_close(m(TOKENS.flip(1))[0][:, -1], logits[:, 0])
        assert state.bytes == 0
        assert dict(inn.State.from_tensors(state.to_tensors())) == dict(copy.deepcopy(state)) == {}
    mask, reset = torch.ones(2, 12, dtype=torch.bool), torch.zeros(2, 12, dtype=torch.bool)
    mask[:, 3], reset[:, 6] = False, True
    assert m(TOKENS, mask=mask, reset=reset)[0].shape == logits.shape
    assert m(TOKENS[:0])[0].shape == (0, 12, 11)
    assert m(TOKENS[:, :0], state)[0].shape == (2, 0, 11)


@pytest.mark.parametrize("fields", [{}, {"population": MIXED}])
def test_it_is_recorded_and_looked_into(fields):
    m = model(**fields)
    with inn.record(m, "activity", "state") as tape:
        m(TOKENS)
    sizes = tape.mean("state")
    assert sizes.shape == (2, 3)
    assert (sizes[:, 0] == 0).all()
    assert (sizes[:, 1:] == 0).all() == (not fields)
    x = torch.randn(2, 20, 3, 8)
    lives = half_lives(m.graph, x, m.graph.initial_state(2))
    assert lives[0] is None
    assert m.graph.round(0).memory.place(0) is None


def test_checkpointed_rounds_give_the_same():
    m = model()
    m.train()(TOKENS)[0].sum().backward()
    grads = [p.grad.clone() for p in m.parameters() if p.grad is not None]
    m.zero_grad()
    m.graph.checkpoint_rounds = True
    m(TOKENS)[0].sum().backward()
    for p, grad in zip([p for p in m.parameters() if p.grad is not None], grads, strict=True):
        assert torch.equal(p.grad, grad)
