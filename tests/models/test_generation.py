from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.config.assemble import model_config
from inn.data.vocabulary import build_vocabulary
from inn.models.build import build_model
from inn.models.generate import complete, generate, sample, start_symbol
from inn.system.errors import InputError

ALPHABET = "abcdefgh \n"
FIELDS = {
    "inn": {"neurons": 2, "width": 8, "rounds": 2, "state": 4, "dropout": 0.5},
    "lstm": {"width": 8, "dropout": 0.5},
    "transformer": {"width": 8, "layers": 2, "heads": 2, "window": 16},
    "mamba-stack": {"width": 8, "layers": 2, "state": 4},
    "ngram": {"order": 3},
}


def make(kind: str = "inn", vocabulary: str = "characters", text: str = ALPHABET, **options):
    torch.manual_seed(0)
    words = build_vocabulary(vocabulary, text)
    model = build_model(model_config(kind, vocab=words.size, **FIELDS[kind], **options))
    if kind == "ngram":
        model.fit(np.random.default_rng(0).integers(0, words.size, 500))  # type: ignore[operator]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    model.vocabulary = words
    return model


def write(model, prompt="", tokens=40, **options) -> str:
    return "".join(generate(model, prompt, tokens, **options))


@pytest.mark.parametrize("kind", FIELDS)
def test_the_same_seed_writes_the_same_text_and_another_seed_another(kind):
    model = make(kind)
    first = write(model, "abc", seed=1)
    torch.rand(3)
    assert write(model, "abc", seed=1) == first
    assert write(model, "abc", seed=2) != first
    assert len(first) == 40
    assert set(first) <= set(ALPHABET)


@pytest.mark.parametrize("kind", FIELDS)
def test_the_text_is_drawn_from_what_a_forward_pass_predicts(kind):
    """Greedy generation, step by step with carried state, repeats the arg-max of whole forward passes.

    An INN recalls what it was given and not what it writes, unlike a forward pass over both: recall is off here.
    """
    options = {"recall": []} if kind == "inn" else {}
    model = make(kind, **options).eval()
    assert model.vocabulary is not None
    text = "abc hg"
    for piece in generate(model, text, 20, top_k=1):
        ids = torch.from_numpy(model.vocabulary.encode(text).astype(np.int64))[None]
        with torch.no_grad():
            logits, _ = model(ids)
        assert piece == model.vocabulary.decode([int(logits[0, -1].argmax())])
        text += piece


def test_a_long_prompt_is_read_in_chunks_that_change_nothing():
    model = make("inn").eval()
    assert model.vocabulary is not None
    prompt = "".join(itertools.islice(itertools.cycle("abc de\nfgh"), 700))
    ids = torch.from_numpy(model.vocabulary.encode(prompt).astype(np.int64))[None]
    with torch.no_grad():
        logits, _ = model(ids)
    assert write(model, prompt, 1, top_k=1) == model.vocabulary.decode([int(logits[0, -1].argmax())])


def test_without_a_seed_texts_differ_and_no_other_random_number_is_disturbed():
    model = make()
    before = torch.get_rng_state()
    assert write(model) != write(model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": 0}, "temperature must be above 0"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_k": 0}, "top-k must be at least 1"),
        ({"top_p": 0.0}, r"top-p must be in \(0, 1\]"),
        ({"top_p": 1.5}, "top-p"),
        ({"top_p": float("nan")}, "top-p"),
        ({"tokens": -1}, "tokens must be at least 0"),
        ({"seed": -1}, "seed"),
        ({"prompt": "aXb"}, "X"),
        ({"prompt": "a", "unknown": "maybe"}, "unknown"),
    ],
)
def test_bad_values_are_refused_at_the_call_and_not_at_the_first_piece(options, message):
    with pytest.raises(InputError, match=message):
        generate(make(), **options)


def test_a_model_without_a_vocabulary_is_refused():
    model = make()
    model.vocabulary = None
    with pytest.raises(InputError, match="no vocabulary"):
        generate(model)


def test_unknown_symbols_of_the_prompt_can_be_skipped():
    model = make()
    assert write(model, "aXbY", seed=1, unknown="skip") == write(model, "ab", seed=1)
    assert write(model, "XYZ", seed=1, unknown="skip") == write(model, "", seed=1)


def test_an_empty_prompt_starts_from_the_line_break_which_is_not_written():
    model = make("ngram")
    assert write(model, "", seed=3) == write(model, "\n", seed=3)
    assert start_symbol(build_vocabulary("characters", "b a")) == 0  # the space
    assert start_symbol(build_vocabulary("characters", "xyz")) == 0
    assert start_symbol(build_vocabulary("bytes")) == 10
    words = build_vocabulary("words", "one two")
    assert words.symbol(start_symbol(words)) == "<eos>"


def test_no_tokens_write_nothing_and_none_writes_on():
    model = make()
    assert write(model, tokens=0) == ""
    assert len(list(itertools.islice(generate(model, tokens=None, seed=1), 100))) == 100


def test_one_piece_per_symbol_and_bytes_appear_as_whole_characters():
    model = make("ngram", "bytes", "")
    model.fit(np.frombuffer("ééé€é€".encode() * 40, np.uint8))  # type: ignore[operator]
    pieces = list(generate(model, "é", 60, seed=1, top_k=1))
    assert 60 <= len(pieces) <= 61
    assert "" in pieces
    assert set("".join(pieces[:60])) <= {"é", "€"}


def test_words_continue_the_line_of_the_prompt():
    model = make("lstm", "words", "the cat sat on the mat")
    text = write(model, "the cat", 5, seed=1)
    assert text.startswith((" ", "\n"))


def test_the_model_is_back_in_its_mode_after_the_last_piece_and_after_giving_up():
    model = make().train()
    model.get_submodule("norm").eval()
    write(model, tokens=3)
    assert model.training
    pieces = generate(model, tokens=None)
    next(pieces)
    assert not model.training
    pieces.close()  # type: ignore[attr-defined]
    assert model.training
    assert not model.get_submodule("norm").training


def test_the_consumer_keeps_its_own_gradient_mode():
    model = make()
    for _ in generate(model, tokens=3):
        assert torch.is_grad_enabled()
    with torch.no_grad():
        list(generate(model, tokens=3))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("kind", FIELDS)
def test_streams_of_different_lengths_do_not_meet(kind):
    """Each is continued as it would be alone, also where prompts end in different chunks of reading."""
    model = make(kind)
    prompts = ["abc", "", "hg fedcba" * 40, "a" * 256, "h\n"]
    assert complete(model, prompts, 12, top_k=1) == [write(model, p, 12, top_k=1) for p in prompts]


def test_streams_are_drawn_each_for_itself_and_repeatably():
    model = make()
    first = complete(model, ["abc"] * 4, 30, seed=1)
    assert len(set(first)) == 4
    assert complete(model, ["abc"] * 4, 30, seed=1) == first
    assert complete(model, [], 3) == []
    assert complete(model, ["abc", "d"], 0) == ["", ""]
    with pytest.raises(InputError, match="tokens"):
        complete(model, ["abc"], -1)


@pytest.mark.parametrize("kind", FIELDS)
def test_memory_does_not_grow(kind, monkeypatch):
    model = make(kind)
    bytes_of_state = []
    step = model.step_

    def watched(tokens, state, **options):
        logits, state = step(tokens, state, **options)
        bytes_of_state.append(sum(t.untyped_storage().nbytes() for t in state.values()))
        return logits, state

    monkeypatch.setattr(model, "step_", watched)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    gc.collect()
    gc.freeze()  # what is there before is not looked at again and again
    pieces = generate(model, "abc", None, seed=1)
    list(itertools.islice(pieces, 40))
    before = tensors()
    list(itertools.islice(pieces, 60))
    after = tensors()
    gc.unfreeze()
    assert after <= before
    assert max(bytes_of_state[40:]) <= max(bytes_of_state[20:40])


LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.0]])


def frequencies(draws: int = 4000, logits=LOGITS, **options) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = sample(logits.expand(draws, -1), generator=generator, **options)
    return torch.bincount(drawn, minlength=logits.shape[-1]) / draws


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_follow_the_softmax(temperature):
    expected = (LOGITS[0] / temperature).softmax(-1)
    torch.testing.assert_close(frequencies(temperature=temperature), expected, atol=0.03, rtol=0)


def test_top_k_keeps_exactly_k():
    found = frequencies(top_k=2)
    assert (found > 0).tolist() == [True, True, False, False, False]  # of equals the lower number stays
    torch.testing.assert_close(found[:2], torch.tensor([2.0, 1.0]).softmax(-1), atol=0.03, rtol=0)
    assert (frequencies(top_k=1) > 0).tolist() == [True, False, False, False, False]
    torch.testing.assert_close(frequencies(top_k=99), frequencies())


def test_top_p_keeps_the_fewest_that_reach_the_mass():
    shares = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for p, kept in ((0.01, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.96, 4), (1.0, 4)):
        assert int((frequencies(logits=shares, top_p=p) > 0).sum()) == kept
    # After top-k the mass is that of what is left: 0.5 of 0.8 reaches 0.6.
    assert int((frequencies(logits=shares, top_k=2, top_p=0.6) > 0).sum()) == 1


@given(
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8),
    st.floats(1e-300, 1e300),
    st.one_of(st.none(), st.integers(1, 10)),
    st.one_of(st.none(), st.floats(1e-12, 1.0)),
)
def test_no_value_breaks_the_draw(logits, temperature, top_k, top_p):
    drawn = sample(torch.tensor([logits]), temperature, top_k, top_p)
    assert drawn.shape == (1,)
    assert 0 <= int(drawn) < len(logits)


def test_forbidden_symbols_are_never_drawn():
    logits = torch.tensor([[0.0, float("-inf"), 0.0]])
    assert frequencies(logits=logits)[1] == 0
