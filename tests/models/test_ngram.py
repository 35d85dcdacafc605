"""The n-gram table against counting by hand, by brute force, and by the floors of the evaluation."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import inn.models.ngram as ngram
from inn.config.rivals import NgramConfig
from inn.inference.floors import floors
from inn.models.ngram import Ngram
from inn.system.errors import InputError


def brute(text, history, vocab, order):
    """Smoothed probabilities of the next symbol, straight from the definition."""
    context = tuple(history[-(order - 1) :]) if order > 1 else ()
    k = len(context)
    grams = Counter(tuple(text[i : i + k + 1]) for i in range(len(text) - k))
    total = sum(n for gram, n in grams.items() if gram[:k] == context)
    return [(grams[(*context, s)] + 1) / (total + vocab) for s in range(vocab)]


def test_a_table_computed_by_hand():
    # 0 1 0 1 0 2: after 0 come 1, 1, 2; after 1 come 0, 0; after 2 nothing. Alone: 0 three times, 1 twice, 2 once.
    model = Ngram(NgramConfig(vocab=3, order=2)).fit(np.array([0, 1, 0, 1, 0, 2], dtype=np.uint8))
    assert model.table(1)[1].tolist() == [3, 2, 1]
    p = model(torch.tensor([[0, 1, 2]]))[0][0].exp()
    expected = torch.tensor([[1 / 6, 3 / 6, 2 / 6], [3 / 5, 1 / 5, 1 / 5], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(p, expected)
    unigram = Ngram(NgramConfig(vocab=3, order=1)).fit(torch.tensor([0, 1, 0, 1, 0, 2]))
    torch.testing.assert_close(unigram(torch.tensor([[2]]))[0][0, 0].exp(), torch.tensor([4 / 9, 3 / 9, 2 / 9]))


@given(
    text=st.lists(st.integers(0, 3), max_size=40),
    history=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    order=st.integers(1, 4),
)
def test_it_is_the_definition_also_where_little_precedes(text, history, order):
    model = Ngram(NgramConfig(vocab=4, order=order)).fit(torch.tensor(text, dtype=torch.long))
    p = model(torch.tensor([history]))[0][0].exp()
    for t in range(len(history)):
        assert p[t].tolist() == pytest.approx(brute(text, history[: t + 1], 4, order), rel=1e-5)
    assert p.sum(-1).tolist() == pytest.approx([1.0] * len(history), rel=1e-5)


@pytest.mark.parametrize("dense", [0, 2**22])
@given(length=st.integers(0, 60), chunk=st.integers(1, 20))
def test_counting_in_pieces_is_counting_at_once(dense, length, chunk):
    text = np.random.default_rng(length).integers(0, 3, length).astype(np.uint16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngram, "_CHUNK", chunk)
        patch.setattr(ngram, "_DENSE", dense)
        model = Ngram(NgramConfig(vocab=3, order=3)).fit(text)
    for k in (1, 2, 3):
        counts = Counter(tuple(text[i : i + k].tolist()) for i in range(length - k + 1))
        found = {
            tuple(code // 3 ** (k - 1 - i) % 3 for i in range(k)): n
            for code, n in zip(*(t.tolist() for t in model.table(k)))
        }
        assert found == counts


def test_it_gives_the_floors():
    rng = np.random.default_rng(0)
    text = np.cumsum(rng.integers(0, 3, 4000)) % 5  # a bigram structure
    train, held_out = text[:3000], text[3000:]
    bars = floors(train, held_out, vocab=5)
    for order, name in ((1, "unigram"), (2, "bigram"), (3, "trigram")):
        model = Ngram(NgramConfig(vocab=5, order=order)).fit(train)
        x = torch.from_numpy(held_out)[None]
        first = max(order - 1, 1)  # the floors score symbols with a whole context, the first symbol never
        losses = F.cross_entropy(model(x[:, :-1])[0][0], x[0, 1:], reduction="none")[first - 1 :]
        assert losses.mean().item() / math.log(2) == pytest.approx(bars[name], rel=1e-5)
    assert bars["bigram"] < bars["unigram"] - 0.5


def test_the_largest_code_fits():
    vocab, order = 2, 61
    text = torch.ones(100, dtype=torch.long)
    model = Ngram(NgramConfig(vocab=vocab, order=order)).fit(text)
    p = model(text[None, :70])[0][0, -1].exp()
    assert p[1].item() == pytest.approx((40 + 1) / (40 + 2))


def test_counts_are_saved_and_loaded_whatever_their_number(tmp_path):
    config = NgramConfig(vocab=9, order=3)
    model = Ngram(config).fit(torch.randint(9, (300,)))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = Ngram(config).fit(torch.randint(9, (40,)))
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    x = torch.randint(9, (2, 20))
    assert torch.equal(model(x)[0], other(x)[0])
    with pytest.raises(RuntimeError, match="codes_3"):
        Ngram(config).load_state_dict({k: v for k, v in model.state_dict().items() if k != "codes_3"})


def test_fitting_again_forgets():
    model = Ngram(NgramConfig(vocab=3, order=2)).fit(torch.tensor([0, 0, 0, 0]))
    model.fit(torch.tensor([1, 1]))
    assert model.table(2)[0].tolist() == [4]
    assert model.table(2)[1].tolist() == [1]


def test_before_fitting_it_guesses():
    logits = Ngram(NgramConfig(vocab=8, order=3))(torch.tensor([[1, 2, 3]]))[0]
    torch.testing.assert_close(logits, torch.full_like(logits, -math.log(8)))


@pytest.mark.parametrize("bad", [[0, 5], [0, -1]])
def test_a_symbol_outside_the_vocabulary_is_named(bad):
    with pytest.raises(InputError, match=str(bad[1])):
        Ngram(NgramConfig(vocab=5, order=2)).fit(torch.tensor(bad))


def test_a_table_that_cannot_fit_is_refused():
    with pytest.raises(InputError, match="order"):
        NgramConfig(vocab=256, order=8)
