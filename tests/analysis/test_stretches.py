"""Stretches of a text: where they lie, and that reading them piece by piece is reading them whole."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import inn
from inn.analysis.observe import graph_inputs, observe
from inn.analysis.recording.stretches import bits_of, entering, recalled, stretches
from inn.config.assemble import stored_model
from inn.system.errors import InputError


@given(st.integers(256, 9000), st.integers(256, 12000))
def test_each_is_a_piece_of_the_text_and_none_meet(n, count):
    text = np.arange(n)
    found = stretches(text, count)
    K, T = found.inputs.shape
    assert min(count, n) * 0.75 <= K * T <= count
    assert len(found.starts) == K >= 16
    for k, start in enumerate(found.starts.tolist()):
        assert found.inputs[k].tolist() == list(range(start, start + T))
        assert found.targets[k].tolist() == list(range(start + 1, start + T + 1))
        known = found.tokens[k, : found.before][found.known[k]].tolist()
        assert known == list(range(start - len(known), start))
        assert len(known) >= found.warmup > 0
    assert all(b - a >= T for a, b in pairwise(found.starts.tolist()))
    assert torch.cat([part.inputs for part in found.groups()]).equal(found.inputs)
    assert len(found.some(3).inputs) == 3
    assert len(found.some(99).inputs) == K


def test_mistakes():
    with pytest.raises(InputError, match="text of 255 symbols is too short to look into; it takes at least 256"):
        stretches(np.zeros(255, dtype=np.uint8))
    with pytest.raises(InputError, match="10 symbols are too few"):
        stretches(np.zeros(1000, dtype=np.uint8), 10)


def model(**fields):
    torch.manual_seed(0)
    fields = {"neurons": 3, "width": 8, "rounds": 2, "recall": [2, 3], "slots": 64, **fields}
    return inn.INN(stored_model({"vocab": 7, **fields})).eval()


TEXT = np.random.default_rng(0).integers(7, size=900)


def test_bits_are_those_of_one_pass_that_recalls_from_further_back():
    m, text = model(), stretches(TEXT, 400)
    found = torch.cat([bits_of(m, part, entering(m, part, recalled(m, part))) for part in text.groups()])
    for k in (0, 5, len(text.tokens) - 1):  # by hand: the tables read all there is, the graph the warm-up alone
        start = int(text.starts[k])
        far = max(0, start - text.before)
        read = torch.from_numpy(TEXT[far : start - text.warmup])[None]
        state = dict(m.initial_state(1))
        with torch.no_grad():
            if read.shape[1]:
                _, tables, _ = m.recall(read, None)
                state |= {(-1, name): t for name, t in tables.items()}
            piece = torch.from_numpy(TEXT[start - text.warmup : start + text.inputs.shape[1] + 1])[None]
            logits, _ = m(piece[:, :-1], inn.State(state))
        nats = F.cross_entropy(logits[0], piece[0, 1:], reduction="none")[text.warmup :]
        torch.testing.assert_close(found[k], nats / math.log(2), rtol=1e-4, atol=1e-5)


def test_the_size_of_a_window_changes_nothing(monkeypatch):
    m, text = model(router="attention", heads=2), stretches(TEXT, 400)
    part = next(text.groups())
    whole, seen = bits_of(m, part, entering(m, part, recalled(m, part))), observe(m, text)
    monkeypatch.setattr("inn.analysis.recording.stretches.window", lambda *_: 5)
    torch.testing.assert_close(bits_of(m, part, entering(m, part, recalled(m, part))), whole, rtol=1e-4, atol=1e-5)
    again = observe(m, text)
    for one, other in ((seen.activity, again.activity), (seen.maps, again.maps), (seen.outputs, again.outputs)):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("router", ["attention", "dendrites", "bus"])
def test_what_is_observed_is_what_a_trace_keeps(router):
    m, text = model(router=router, heads=2, zero_start=False), stretches(TEXT, 400)
    seen = observe(m, text)
    part = text.rows(slice(2, 3))
    far = max(0, int(part.starts) - part.before)
    with torch.no_grad():
        _, state = m(torch.from_numpy(TEXT[far : int(part.starts) - part.warmup])[None])
        state = inn.State({**m.initial_state(1), **{key: t for key, t in state.items() if key[0] == -1}})
        _, state = m(part.tokens[:, part.before - part.warmup : part.before], state)
        with inn.analysis.trace(m, "routing", "activity", "outputs") as tape:
            m(part.inputs, state)
    torch.testing.assert_close(seen.activity[:, 2], tape.values("activity"), rtol=1e-4, atol=1e-6)
    values = tape.values("routing").double()  # [R, symbols, heads, N, N]
    maps = values.mean((1, 2)) if router == "attention" else values.square().mean((1, 2)).sqrt()
    torch.testing.assert_close(seen.maps[2], maps, rtol=1e-4, atol=1e-6)
    x, state = graph_inputs(m, text)
    with inn.record(m, "routing") as whole, torch.no_grad():
        m.graph.run(x, state)
    weights = whole.connectivity().weights
    torch.testing.assert_close(seen.connectivity, weights / weights.sum(-1, keepdim=True), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(seen.outputs[2:3], tape.last_outputs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.connectivity.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    x, before = graph_inputs(m, part)
    with torch.no_grad():
        torch.testing.assert_close(m.graph.run(x, before)[0], tape.last_outputs, rtol=1e-4, atol=1e-5)
    assert m.graph.tape is None


def test_weights_below_zero_count_by_their_size():
    m, text = model(router="mixing"), stretches(TEXT, 400)
    with torch.no_grad():
        m.graph.rounds[0].router.weights.copy_(torch.tensor([[-3.0, 1.0, 0.0]]).expand(3, 3))
    torch.testing.assert_close(observe(m, text).connectivity[0, 1], torch.tensor([0.75, 0.25, 0.0]).double())


@pytest.mark.parametrize("router", ["attention", "dendrites"])
def test_a_large_graph_is_observed_edge_by_edge(monkeypatch, router):
    m = model(router=router, neurons=5, topology="ring", topology_options={"neighbours": 2})
    text = stretches(TEXT, 400)
    whole = observe(m, text)
    monkeypatch.setattr("inn.nn.tape.DENSE", 4)
    few = observe(m, text)
    assert (whole.maps.shape[2:], few.maps.shape[2:]) == ((5, 5), (5, 3))
    torch.testing.assert_close(few.connectivity, whole.connectivity)
    torch.testing.assert_close(few.received, whole.received)
    assert few.heard.hubs() == whole.heard.hubs()
