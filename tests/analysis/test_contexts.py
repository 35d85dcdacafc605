"""Preferred contexts: the loudest places, apart from each other, however the text comes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.analysis.measures.contexts import Contexts
from inn.system.errors import InputError


def slowly(activity, top, apart):
    """The definition in loops: louder than the `apart` before, no quieter than the `apart` after."""
    found = []
    for t, a in enumerate(activity):
        if all(a > b for b in activity[max(0, t - apart) : t]) and all(a >= b for b in activity[t + 1 : t + apart + 1]):
            found.append((-a, t))
    return [(t, -a) for a, t in sorted(found)[:top]]


@given(
    st.integers(0, 999),
    st.integers(1, 120),
    st.integers(2, 9),
    st.lists(st.integers(1, 119), max_size=6),
    st.booleans(),
)
def test_any_split_finds_what_loops_find(seed, T, apart, cuts, ties):
    generator = torch.Generator().manual_seed(seed)
    activity = torch.rand(1, T, 2, generator=generator)
    if ties:
        activity = (activity * 4).round()
    contexts = Contexts(top=3, apart=apart)
    edges = [0, *sorted({c for c in cuts if c < T}), T]
    for a, b in pairwise(edges):
        contexts.add(activity[:, a:b], torch.arange(a, b)[None], [100], goes_on=a > 0)
    for n, found in enumerate(contexts.found()):
        assert [(c.at - 100, c.activity) for c in found] == slowly(activity[0, :, n].double().tolist(), 3, apart)
        for c in found:
            t, half = c.at - 100, apart // 2
            assert c.symbols == list(range(max(0, t - half), min(T, t + half + 1)))
            assert c.symbols[c.place] == t


def test_rows_and_texts_do_not_meet():
    activity = torch.zeros(2, 50, 1)
    activity[0, 49], activity[1, 0] = 2.0, 3.0  # neighbours in memory, not in the text
    contexts = Contexts(top=2, apart=10)
    contexts.add(activity, torch.arange(100).view(2, 50), [0, 500])
    contexts.add(activity[:1] * 5, torch.arange(50)[None], [900])
    assert [(c.at, c.activity) for c in contexts.found()[0]] == [(949, 10.0), (500, 3.0)]


def test_memory_does_not_grow_with_the_text():
    contexts = Contexts(top=4, apart=16)
    for i in range(50):
        contexts.add(torch.rand(2, 100, 3), torch.zeros(2, 100).long(), [0, 10_000], goes_on=i > 0)
        assert contexts._tail[0].shape[1] <= 2 * 16
        assert all(len(kept) <= 4 for kept in contexts._kept)
    places = [c.at for c in contexts.found()[0]]
    assert all(abs(a - b) > 16 for i, a in enumerate(places) for b in places[:i])
    assert max(places) > 100  # places go on counting over the pieces


def test_nothing_read_has_no_contexts():
    assert Contexts().found() == []


def test_mistakes():
    with pytest.raises(InputError, match="top must be at least 1, not 0"):
        Contexts(top=0)
    with pytest.raises(InputError, match="apart must be at least 2, not 1"):
        Contexts(apart=1)
