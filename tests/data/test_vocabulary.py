from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.data.base import visible
from inn.data.corpora import corpus_text
from inn.data.encode import encoded, learned
from inn.data.names import Channels, Names
from inn.data.tokens import EXAMPLE, Tokens
from inn.data.vocabulary import Bytes, Characters, Vocabulary, Words, build_vocabulary
from inn.registry import VOCABULARIES
from inn.system.errors import InputError

TOKENIZER = Tokens(json.loads(EXAMPLE))
texts = st.text(max_size=200)
words = st.lists(st.text("abcxyzé", min_size=1, max_size=4), min_size=1, max_size=6)
normal_texts = st.lists(st.one_of(st.just([]), words), min_size=1, max_size=5).map(
    lambda lines: "\n".join(" ".join(line) for line in lines)
)


def of_a_kind(kind: str, text: str) -> Vocabulary:
    """A vocabulary of a text, or where none can be made of one, of a tokenizer."""
    if kind == "channels":
        return Channels(["left", "right"], classes=["still", "moving"])
    if kind == "names":
        return Names(f"{i}:{visible(c)}" for i, c in enumerate(text))
    return TOKENIZER if kind == "tokenizer" else build_vocabulary(kind, text)


@given(st.binary(max_size=200))
def test_bytes_round_trip_exactly(raw):
    vocabulary = Bytes()
    ids = vocabulary.encode(raw)
    assert ids.dtype == np.uint8
    assert len(ids) == len(raw)
    assert vocabulary.decode_bytes(ids) == raw


@given(texts)
def test_text_round_trips_through_bytes(text):
    vocabulary = build_vocabulary("bytes")
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(st.text(min_size=1, max_size=200))
def test_characters_round_trip_exactly(text):
    vocabulary = build_vocabulary("characters", text)
    ids = vocabulary.encode(text)
    assert vocabulary.size == len(set(text))
    assert len(ids) == len(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.encode(text.encode()).tolist() == ids.tolist()


@given(normal_texts)
def test_words_round_trip_in_normal_form(text):
    vocabulary = build_vocabulary("words", text)
    assert Words.normal(text) == text
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(texts)
def test_words_restore_the_normal_form_of_any_text(text):
    vocabulary = build_vocabulary("words", text)
    assert vocabulary.decode(vocabulary.encode(text)) == Words.normal(text)


@given(st.sampled_from(sorted(VOCABULARIES)), st.text(min_size=1, max_size=80), st.data())
def test_decoder_gives_what_decode_gives(kind, text, data):
    vocabulary = of_a_kind(kind, text)
    ids = data.draw(st.lists(st.integers(0, vocabulary.size - 1), max_size=40))
    decoder = vocabulary.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.flush() == vocabulary.decode(ids)


@given(st.sampled_from(sorted(VOCABULARIES)), st.text(min_size=1, max_size=80))
def test_json_restores_the_vocabulary(kind, text):
    vocabulary = of_a_kind(kind, text)
    stored = vocabulary.to_json()
    again = Vocabulary.from_json(stored)
    assert stored.isascii()
    assert again == vocabulary
    assert again == Vocabulary.from_json(json.loads(stored))
    if kind not in ("names", "channels"):  # which are not of a text
        assert again.encode(text).tolist() == vocabulary.encode(text).tolist()


@given(st.sampled_from(sorted(VOCABULARIES)), st.text(min_size=1, max_size=80))
def test_names_of_symbols_are_printable_and_distinct(kind, text):
    vocabulary = of_a_kind(kind, text)
    names = [vocabulary.symbol(i) for i in range(vocabulary.size)]
    assert len(set(names)) == vocabulary.size
    if kind != "words":
        assert all(name.isprintable() and not name.isspace() for name in names)


@given(st.text(min_size=1, max_size=300), st.integers(1, 50))
def test_blocks_build_the_same_vocabulary(text, size):
    blocks = [text[i : i + size] for i in range(0, len(text), size)]
    for kind in ("characters", "bpe"):
        assert build_vocabulary(kind, blocks) == build_vocabulary(kind, text)


def test_characters_are_in_the_order_of_their_code_points():
    assert build_vocabulary("characters", "zebra é\U0001f600").symbols() == " aberzé\U0001f600"


def test_words_are_in_the_order_of_their_frequency():
    vocabulary = build_vocabulary("words", "b a b\nc <unk> b a\n")
    assert vocabulary.symbols() == ["<unk>", "<eos>", "b", "a", "c"]
    assert vocabulary.encode("a b\nnew <unk>\n").tolist() == [3, 2, 1, 0, 0, 1]
    assert vocabulary.encode("a new b", unknown="skip").tolist() == [3, 2]


@pytest.mark.parametrize(("size", "dtype"), [(2, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4")])
def test_symbols_take_the_smallest_type(size, dtype):
    text = "".join(map(chr, range(0x10000, 0x10000 + size)))
    vocabulary = build_vocabulary("characters", text)
    assert vocabulary.encode(text).dtype == vocabulary.dtype == np.dtype(f"<{dtype}")
    assert vocabulary.encode(text).tolist() == list(range(size))


@pytest.mark.parametrize("symbol", ["é", "\U0001f600", "\t", "\udc80", "\U0010ffff"])
def test_an_unknown_character_is_named_and_can_be_skipped(symbol):
    vocabulary = Characters("abc")
    with pytest.raises(InputError) as error:
        vocabulary.encode("ab" + symbol + "c")
    assert repr(symbol) in str(error.value)
    assert f"U+{ord(symbol):04X}" in str(error.value)
    assert "--unknown skip" in str(error.value)
    assert vocabulary.encode("ab" + symbol + "c", unknown="skip").tolist() == [0, 1, 2]


def test_bad_arguments_are_sentences():
    with pytest.raises(InputError, match="did you mean 'skip'"):
        Characters("abc").encode("a", unknown="skipp")
    with pytest.raises(InputError, match="did you mean 'words'"):
        build_vocabulary("word", "a")
    with pytest.raises(InputError, match="at least one character"):
        build_vocabulary("characters", "")
    with pytest.raises(InputError, match=r"0xff at offset 2 .* --data\.vocabulary bytes"):
        Characters("ab").encode(b"ab\xff")
    with pytest.raises(InputError, match=r"U\+D800"):
        build_vocabulary("bytes").encode("a\ud800")


def test_a_byte_the_terminal_could_not_decode_stays_that_byte():
    assert build_vocabulary("bytes").encode("a\udcff").tolist() == [97, 255]


@pytest.mark.parametrize("kind", sorted(VOCABULARIES))
@pytest.mark.parametrize("bad", [-1, "size"])
def test_symbols_outside_are_refused(kind, bad):
    vocabulary = of_a_kind(kind, "some text")
    with pytest.raises(IndexError):
        vocabulary.decode([vocabulary.size if bad == "size" else bad])


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 2, "kind": "bytes", "size": 256, "symbols": null}',
        '{"format": 1, "kind": "byte", "size": 256, "symbols": null}',
        '{"format": 1, "kind": ["bytes"], "size": 256, "symbols": null}',
        '{"format": 1, "kind": "bytes", "size": 255, "symbols": null}',
        '{"format": 1, "kind": "characters", "size": 3, "symbols": "cba"}',
        '{"format": 1, "kind": "characters", "size": 3, "symbols": "aab"}',
        '{"format": 1, "kind": "characters", "size": 1, "symbols": null}',
        '{"format": 1, "kind": "characters", "size": 1, "symbols": [1]}',
        '{"format": 1, "kind": "words", "size": 2, "symbols": ["a", "b"]}',
        '{"format": 1, "kind": "words", "size": 3, "symbols": ["<unk>", "<eos>", 1]}',
        '{"format": 1, "kind": "words", "size": 3, "symbols": ["<unk>", "<eos>", "a b"]}',
        '{"format": 1, "kind": "words", "size": 4, "symbols": ["<unk>", "<eos>", "a", "a"]}',
        '{"format": 1, "kind": "bpe", "size": 256, "symbols": null}',
        '{"format": 1, "kind": "bpe", "size": 257, "symbols": [[97]]}',
        '{"format": 1, "kind": "bpe", "size": 257, "symbols": [[97, 256]]}',
        '{"format": 1, "kind": "bpe", "size": 257, "symbols": [[-1, 97]]}',
        '{"format": 1, "kind": "bpe", "size": 257, "symbols": [["a", "b"]]}',
        '{"format": 1, "kind": "bpe", "size": 257, "symbols": [[true, 97]]}',
        '{"format": 1, "kind": "bpe", "size": 257, "symbols": [[97, 98], [97, 98]]}',
        '{"format": 1, "kind": "bpe", "size": 256, "symbols": [[97, 98]]}',
        '{"format": 1, "kind": "tokenizer", "size": 4, "symbols": null}',
        '{"format": 1, "kind": "tokenizer", "size": 4, "symbols": {"size": 4, "tokenizer": null}}',
        '{"format": 1, "kind": "tokenizer", "size": 4, "symbols": {"size": 4, "tokenizer": {}}}',
        f'{{"format": 1, "kind": "tokenizer", "size": 3, "symbols": {{"size": 3, "tokenizer": {EXAMPLE}}}}}',
    ],
)
def test_foreign_json_is_refused(stored):
    with pytest.raises(InputError):
        Vocabulary.from_json(stored)


def test_files_of_vocabularies(tmp_path):
    vocabulary = build_vocabulary("characters", "héllo")
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary
    with pytest.raises(InputError, match="no such file"):
        Vocabulary.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"bad\.json cannot be used"):
        Vocabulary.load(tmp_path / "bad.json")


def test_units_and_metrics():
    assert {k: (v.unit, v.metric) for k, v in VOCABULARIES.items()} == {
        "bytes": ("byte", "BPB"),
        "characters": ("character", "BPC"),
        "words": ("word", "PPL"),
        "bpe": ("sub-word", "bits"),
        "tokenizer": ("token", "bits"),
        "names": ("step", "bits"),
        "channels": ("step", "bits"),
    }


class Letters(Characters):
    """The letters of a text, and nothing else of it."""

    kind, unit, metric = "letters", "letter", "bits"
    lossy, parts = True, ("train",)

    @classmethod
    def learn(cls, blocks, units):
        return cls(c for block in blocks for c in block if c.isalpha())

    def encode(self, text, unknown="error"):
        return super().encode(text, unknown="skip")


@pytest.fixture
def letters(monkeypatch):
    monkeypatch.setitem(VOCABULARIES._registered, "letters", Letters)


def test_a_kind_of_ones_own_is_saved_with_its_origin_and_loaded(letters, tmp_path):
    vocabulary = build_vocabulary("letters", "a b, c!")
    assert vocabulary.size == 3
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary
    assert json.loads((tmp_path / "vocabulary.json").read_text())["origin"] == f"module {Letters.__module__}"


def test_what_a_kind_loses_of_a_text_is_known(letters, tmp_path, own_cache):
    (tmp_path / "text").write_text("one, two; three. " * 100)
    text = corpus_text(f"file:{tmp_path / 'text'}", Letters.boundary)
    vocabulary = learned(text, "letters", 0)
    assert vocabulary.symbols() == "ehnortw"
    (symbols, read), *_ = encoded(text, "test", vocabulary)
    assert vocabulary.lossy
    assert not vocabulary.spells(symbols, read)


def test_a_kind_that_is_not_here_is_named_with_where_it_came_from():
    stored = {"format": 1, "kind": "letters", "size": 1, "symbols": "a"}
    with pytest.raises(InputError, match="'letters' was registered by module mine; import that first"):
        Vocabulary.from_json({**stored, "origin": "module mine"})
    with pytest.raises(InputError, match=r"comes with letters 1\.0, which is not installed here; pip install letters"):
        Vocabulary.from_json({**stored, "origin": "letters 1.0"})
    with pytest.raises(InputError, match="unknown kind of vocabulary 'letters'"):
        Vocabulary.from_json(stored)
