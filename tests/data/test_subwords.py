"""Sub-words: any text comes back exactly, whatever they were learned from and however it was cut."""

from __future__ import annotations

import json
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.config.run import DataConfig
from inn.data.prepare import prepare
from inn.data.subwords import SubWords, between_pieces
from inn.data.text import PARTS
from inn.data.vocabulary import Vocabulary, build_vocabulary
from inn.system.errors import InputError

ENGLISH = "the cat sat on the mat, and the other cat's hat was 100 times the hat of the cat \\ 42.\n" * 20
LEARNED = build_vocabulary("bpe", ENGLISH, 280)
spaced = st.text(st.sampled_from("the cat's  \n\n\t\r\u00a0\u2003\x1c\x85 42,é🐕"), max_size=60)
texts = st.one_of(st.text(max_size=80), spaced)


@given(texts, texts)
def test_any_text_comes_back_whatever_the_sub_words_were_learned_from(text, other):
    for vocabulary in (LEARNED, build_vocabulary("bpe", other, 400)):
        symbols = vocabulary.encode(text)
        assert vocabulary.decode(symbols) == text
        assert vocabulary.decode_bytes(symbols) == text.encode()
        assert vocabulary.encode(text.encode()).tolist() == symbols.tolist()
        assert symbols.dtype == vocabulary.dtype


@given(texts, st.integers(1, 9))
def test_a_text_in_blocks_is_encoded_as_the_whole(text, size):
    blocks = list(between_pieces(text[i : i + size] for i in range(0, len(text), size)))
    assert "".join(blocks) == text
    assert [i for block in blocks for i in LEARNED.encode(block).tolist()] == LEARNED.encode(text).tolist()


def test_sub_words_are_what_the_text_repeats():
    assert LEARNED.size == 280
    assert {LEARNED.symbol(i) for i in range(256, 280)} >= {"␣the", "at", "␣cat"}
    assert len(LEARNED.encode(ENGLISH)) < len(ENGLISH) / 2
    assert build_vocabulary("bpe", ENGLISH, 256).size == 256
    assert build_vocabulary("bpe", "abc", 5000).size == 256  # nothing is there twice
    assert build_vocabulary("bpe", ENGLISH, 280) == LEARNED


def test_merges_are_made_in_their_order():
    """The rule itself: of all neighbours the pair that was merged first, again and again."""
    first = {pair: i for i, pair in enumerate(map(tuple, LEARNED.symbols()))}
    made = {piece: i for i, piece in enumerate(LEARNED._pieces)}
    for word in ("the", " the", " cat", " other", " times", "'s", " hatmat"):
        symbols = list(word.encode())
        while found := [(first[p], i) for i, p in enumerate(pairwise(symbols)) if p in first]:
            _, i = min(found)
            a, b = symbols[i : i + 2]
            symbols[i : i + 2] = [made[LEARNED._pieces[a] + LEARNED._pieces[b]]]
        assert LEARNED.encode(word).tolist() == symbols


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), unique=True, max_size=40), texts)
def test_any_merges_round_trip_through_json_with_names_of_their_own(merges, text):
    vocabulary = SubWords(merges)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.encode(text).tolist() == vocabulary.encode(text).tolist()
    names = [vocabulary.symbol(i) for i in range(vocabulary.size)]
    assert len(set(names)) == len(names)
    assert all(name.isprintable() and not name.isspace() for name in names)


def test_two_ways_to_one_piece_are_one_symbol():
    vocabulary = SubWords([(97, 98), (98, 99), (256, 99), (97, 257)])  # abc as ab + c and as a + bc
    assert vocabulary.size == 259
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    assert vocabulary.decode(vocabulary.encode("abcabc")) == "abcabc"


def test_half_a_surrogate_pair_is_named_or_skipped():
    with pytest.raises(InputError, match=r"U\+D800.*--unknown skip"):
        LEARNED.encode("a\ud800b")
    assert LEARNED.decode(LEARNED.encode("a\ud800b", unknown="skip")) == "ab"


def test_the_package_is_named_where_it_is_not_installed(monkeypatch):
    stored = LEARNED.to_json()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    vocabulary = Vocabulary.from_json(stored)
    assert vocabulary.decode([104, 105]) == "hi"  # to read is not to write
    for need in (lambda: vocabulary.encode("a"), lambda: build_vocabulary("bpe", "a")):
        with pytest.raises(InputError, match=r"pip install 'inn-torch\[bpe\]'"):
            need()


@pytest.mark.parametrize("block", [5, 1 << 20])
def test_a_corpus_is_prepared_per_number_of_units(tmp_path, block, monkeypatch, own_cache):
    monkeypatch.setattr("inn.data.text.BLOCK", block)
    path = tmp_path / "story.txt"
    story = ENGLISH + "The naïve 🐕 !\n" * 30
    path.write_bytes(story.encode())
    sizes = {}
    for units in (256, 280, 295):
        data = prepare(DataConfig(corpus=f"file:{path}", vocabulary="bpe", units=units))
        assert "".join(data.vocabulary.decode(data.split(part)) for part in PARTS) == story
        sizes[data.vocabulary.size] = len(data.train)
    assert list(sizes) == [256, 280, 295]
    assert sizes[256] > sizes[280] > sizes[295]
    assert len(list((own_cache / "prepared").glob("file-bpe*"))) == 3


def test_the_parts_held_out_teach_nothing(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abab" * 90 + "\n" + "zqzq" * 9)
    data = prepare(DataConfig(corpus=f"file:{path}", vocabulary="bpe", units=300))
    assert not any(b"z" in data.vocabulary._pieces[i] for i in range(256, data.vocabulary.size))
    assert json.loads(data.vocabulary.to_json())["symbols"][0] == [97, 98]
    assert data.vocabulary.decode(data.test).endswith("zqzq")


def test_fewer_units_than_bytes_are_refused():
    with pytest.raises(InputError, match="units must be at least 256"):
        DataConfig(vocabulary="bpe", units=100)
