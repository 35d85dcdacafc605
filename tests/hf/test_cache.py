"""The state as a cache: any split is one pass, rows can be chosen and repeated, what was read can be taken back."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inn import InputError
from inn.hf import INNCache
from inn.nn.state import State


def equal(a: State | None, b: State | None, within: float = 1e-12) -> bool:
    assert a is not None
    assert b is not None
    assert set(a) == set(b)
    return all((a[key] - b[key]).abs().max() <= within for key in a)


@settings(max_examples=40)
@given(data=st.data())
def test_any_split_through_the_cache_is_one_pass(build, data):
    """Symbol by symbol too, which changes the state in place; with padding anywhere, on either side of a cut."""
    name = data.draw(st.sampled_from(["default", "distinct", "bus", "resting", "stack"]))
    length = data.draw(st.integers(1, 24))
    x = torch.tensor(data.draw(st.lists(st.integers(0, 10), min_size=2 * length, max_size=2 * length))).view(2, length)
    bits = data.draw(st.lists(st.booleans(), min_size=2 * length, max_size=2 * length))
    mask = torch.tensor(bits).view(2, length).long() if data.draw(st.booleans()) else None
    cuts = sorted(data.draw(st.sets(st.integers(1, length), max_size=6)) | {length})
    grad = data.draw(st.booleans())
    model = build(name)
    with torch.set_grad_enabled(grad):
        whole = model(x, attention_mask=mask, use_cache=True)
        cache, at, logits = None, 0, []
        for end in cuts:
            seen = None if mask is None else mask[:, :end]  # as generate gives it: of all positions so far
            out = model(x[:, at:end], attention_mask=seen, past_key_values=cache, use_cache=True)
            cache, at = out.past_key_values, end
            logits.append(out.logits)
    read = torch.ones(2, length, dtype=torch.bool) if mask is None else mask.bool()
    torch.testing.assert_close(torch.cat(logits, 1)[read], whole.logits[read], atol=1e-11, rtol=0)
    assert equal(cache.state, whole.past_key_values.state, 1e-11)
    assert cache.get_seq_length() == length


@settings(max_examples=40)
@given(data=st.data())
def test_what_is_taken_back_was_never_read(build, data):
    """Symbols are read in blocks and taken back in part, as assisted writing does; the rest is as one pass reads it."""
    model = build()
    cache, kept = INNCache(), torch.zeros(1, 0, dtype=torch.long)
    cache.activate_past_recording()
    draw = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    with torch.no_grad():
        for _ in range(data.draw(st.integers(1, 4))):
            since = 0
            for _ in range(data.draw(st.integers(1, 3))):
                block = torch.randint(11, (1, data.draw(st.integers(1, 4))), generator=draw)
                logits = model(block, past_key_values=cache).logits
                kept, since = torch.cat((kept, block), 1), since + block.shape[1]
                assert torch.allclose(logits, model(kept).logits[:, -block.shape[1] :], atol=1e-11, rtol=0)
            back = data.draw(st.integers(0, since))
            cache.crop(-back)
            kept = kept[:, : kept.shape[1] - back]
            assert cache.get_seq_length() == kept.shape[1]
        last = torch.tensor([[3]])
        logits = model(last, past_key_values=cache).logits
        torch.testing.assert_close(logits, model(torch.cat((kept, last), 1)).logits[:, -1:], atol=1e-11, rtol=0)


def test_no_more_can_be_taken_back_than_was_recorded(build, tokens):
    model = build()
    cache = model(tokens(1, 6), use_cache=True).past_key_values
    with pytest.raises(InputError, match="taken back"):
        cache.crop(-1)
    assert not cache.is_croppable
    cache.activate_past_recording()
    model(tokens(1, 2), past_key_values=cache)
    with pytest.raises(InputError, match="of which 2 were recorded"):
        cache.crop(-3)
    cache.crop(6)  # positions to keep, as earlier versions say it
    assert cache.get_seq_length() == 6
    cache.crop(-0)
    assert equal(cache.state, model(tokens(1, 6), use_cache=True).past_key_values.state)


def test_rows_are_chosen_and_repeated_with_all_they_carry(build, tokens):
    model, x, more = build(), tokens(3, 5), tokens(3, 4)
    with torch.no_grad():
        cache = model(x, use_cache=True).past_key_values
        cache.activate_past_recording()
        model(more, past_key_values=cache)
        cache.crop(-2)  # two symbols are pending
        cache.reorder_cache(torch.tensor([2, 0, 0]))
        last = torch.tensor([[1], [2], [3]])
        got = model(last, past_key_values=cache).logits
        rows = torch.cat((x, more[:, :2]), 1)[[2, 0, 0]]
        torch.testing.assert_close(got, model(torch.cat((rows, last), 1)).logits[:, -1:], atol=1e-12, rtol=0)

        cache = model(x, use_cache=True).past_key_values
        cache.activate_past_recording()
        model(more, past_key_values=cache)
        cache.reorder_cache(torch.tensor([2, 0, 0]))
        cache.crop(-2)  # to the past of the rows that were chosen
        torch.testing.assert_close(model(last, past_key_values=cache).logits, got, atol=1e-12, rtol=0)

        cache = model(x, use_cache=True).past_key_values
        cache.batch_select_indices(torch.tensor([1]))
        cache.batch_repeat_interleave(2)
        assert cache.batch_size == 2
        assert equal(cache.state, model(x[[1, 1]], use_cache=True).past_key_values.state)


def test_the_state_a_cache_is_made_of_is_never_changed(build, tokens):
    model = build()
    state = model.inn(tokens(2, 5))[1].detach()
    before = state.clone()
    cache = INNCache(state, length=5)
    with torch.no_grad():
        for t in range(4):
            model(tokens(2, 4)[:, t : t + 1], past_key_values=cache)
        held = cache.state
        then = held.clone()
        model(tokens(2, 1), past_key_values=cache)
    assert all(torch.equal(state[key], before[key]) for key in state)
    assert all(torch.equal(held[key], then[key]) for key in held), "what was looked at is a value"


def test_a_copy_goes_on_by_itself(build, tokens):
    model = build()
    with torch.no_grad():
        cache = model(tokens(1, 5), use_cache=True).past_key_values
        model(tokens(1, 1), past_key_values=cache)
        other = copy.deepcopy(cache)
        expected = model(tokens(1, 3), past_key_values=copy.deepcopy(cache)).logits
        for _ in range(3):
            model(tokens(1, 1), past_key_values=cache)
        assert torch.equal(model(tokens(1, 3), past_key_values=other).logits, expected)


def test_a_step_costs_no_new_state(build, tokens):
    """Writing changes one state in place: its tensors stay where they are in memory."""
    model, cache = build(), INNCache()
    with torch.no_grad():
        for _ in range(3):
            model(tokens(1, 1), past_key_values=cache)
        places = [t.data_ptr() for t in cache._state.values()]
        model(tokens(1, 1), past_key_values=cache)
    assert [t.data_ptr() for t in cache._state.values()] == places


def test_with_a_gradient_a_step_makes_a_new_state(build, tokens):
    model, x = build(), tokens(1, 3)
    cache, logits = INNCache(), []
    for t in range(3):
        logits.append(model(x[:, t : t + 1], past_key_values=cache, use_cache=True).logits)
    weights = list(model.parameters())
    got = torch.autograd.grad(torch.cat(logits, 1).square().sum(), weights)
    for a, b in zip(got, torch.autograd.grad(model(x).logits.square().sum(), weights), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


def test_a_cache_can_be_emptied(build, tokens):
    model = build()
    cache = model(tokens(2, 5), use_cache=True).past_key_values
    assert (len(cache), cache.is_initialized, cache.is_compileable) == (3, True, False)
    cache.reset()
    assert (cache.get_seq_length(), cache.batch_size, cache.is_initialized, len(cache)) == (0, -1, False, 0)
    assert torch.equal(model(tokens(1, 4), past_key_values=cache).logits, model(tokens(1, 4)).logits)
