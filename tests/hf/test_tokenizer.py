"""Tokenizers of transformers number every text as the vocabularies do, and read it back as they do."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers, processors
from transformers import AutoTokenizer

from inn import InputError
from inn.data.subwords import SubWords
from inn.data.tokens import EXAMPLE, Tokens
from inn.data.vocabulary import Bytes, Characters, Words
from inn.hf import INNTokenizer, build_tokenizer
from inn.models.generate import start_symbol

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
"""Any text that UTF-8 can write."""
SPACES = "".join(map(chr, [*range(0x20), 0x20, 0x7F, 0x85, 0xA0, 0x180E, 0x200B, 0x2028, 0x2029, 0x3000, 0xFEFF]))
WORDS = Words(["a", "the", "cat", "x<eos>", "<eos>x", "<pad", "é", "##a", "▁", "Ġ", "line", ".", "end."])
MERGES = SubWords([(116, 104), (256, 101), (32, 97), (258, 97), (195, 169)])


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """A tokenizer as it is after it was written and opened again."""
    made = {}

    def make(vocabulary):
        if vocabulary not in made:
            path = tmp_path_factory.mktemp("tokenizer")
            build_tokenizer(vocabulary).save_pretrained(path)
            made[vocabulary] = AutoTokenizer.from_pretrained(path)
        return made[vocabulary]

    return make


def agree(tokenizer, vocabulary, text: str) -> None:
    ids = vocabulary.encode(text).tolist()
    assert tokenizer(text).input_ids == ids
    assert tokenizer.encode(text) == ids
    assert tokenizer.decode(ids) == vocabulary.decode(ids)
    assert tokenizer.decode(ids, skip_special_tokens=True) == vocabulary.decode(ids)


@settings(max_examples=60)
@given(text=TEXT)
@example("<pad>")
@example("a <pad>b<pad>")
@example("a\n\nb\r\n\tc  d ")
@example("é 漢 😀 \x00\x7f")
def test_bytes(load, text):
    agree(load(Bytes()), Bytes(), text)


@settings(max_examples=60)
@given(ids=st.lists(st.integers(0, 255), max_size=12))
@example([0xE2, 0x82])
@example([0xF0, 0x9F, 0x41, 0x80, 0xC0, 0xAF, 0xED, 0xA0, 0x80])
def test_bytes_that_are_no_text_are_read_alike(load, ids):
    assert load(Bytes()).decode(ids) == Bytes().decode(ids)


@settings(max_examples=60)
@given(text=TEXT)
@example("the thé tha a a <pad>")
def test_sub_words(load, text):
    agree(load(MERGES), MERGES, text)


@settings(max_examples=60)
@given(text=TEXT.filter(bool), extra=TEXT)
@example("<pad>", "")
@example("a b\n<pad>\r\n", " ")
def test_characters(text, extra):
    vocabulary = Characters(text + extra)
    agree(build_tokenizer(vocabulary), vocabulary, text)


def test_a_character_that_is_not_in_the_vocabulary_is_named_or_left_out(load, tmp_path):
    vocabulary = Characters("ab\n")
    with pytest.raises(InputError) as ours:
        vocabulary.encode("abéb")
    tokenizer = load(vocabulary)
    for way in (tokenizer, tokenizer.tokenize, tokenizer.encode, lambda text: tokenizer(["ab", text], padding=True)):
        with pytest.raises(InputError, match="lacks 'é'") as theirs:
            way("abéb")
        assert str(theirs.value).split(";")[0] == str(ours.value).split(";")[0]
    tokenizer.save_pretrained(tmp_path)
    lenient = AutoTokenizer.from_pretrained(tmp_path, unknown="skip")
    assert lenient(["aéb", "é"]).input_ids == [vocabulary.encode("ab").tolist(), []]
    with pytest.raises(InputError, match="for tokenizers of characters"):
        AutoTokenizer.from_pretrained(load(Bytes()).name_or_path, unknown="skip")("a")
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["<x>"]}) == 1


@pytest.mark.parametrize(
    "vocabulary", [Bytes(), MERGES, Characters("ab\n "), Characters("ab"), WORDS], ids=lambda v: v.kind
)
def test_a_text_begins_at_the_start_symbol_and_has_no_end(load, vocabulary):
    """An ordinary symbol, which no text is given by itself and decoding keeps; the end is one that is never written."""
    tokenizer, start = load(vocabulary), start_symbol(vocabulary)
    assert isinstance(tokenizer, INNTokenizer)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (start, vocabulary.size)
    assert tokenizer.convert_tokens_to_ids(tokenizer.bos_token) == start
    assert tokenizer.decode([start], skip_special_tokens=True) == vocabulary.decode([start])
    assert tokenizer("a").input_ids == vocabulary.encode("a").tolist()
    asked = AutoTokenizer.from_pretrained(tokenizer.name_or_path, add_bos_token=True)
    assert asked("a").input_ids == [start, *vocabulary.encode("a").tolist()]
    if vocabulary.kind in ("bytes", "bpe"):  # where a line break is written with this letter
        assert tokenizer("Ċ\n").input_ids == vocabulary.encode("Ċ\n").tolist()


@settings(max_examples=100)
@given(
    text=TEXT
    | st.lists(st.sampled_from([*WORDS.symbols(), " ", "\n", "\n ", "  ", *SPACES, "other", "<pad>"])).map("".join)
    | st.lists(st.sampled_from([*WORDS.symbols(), "other", "<pad>"])).map(" ".join)
)
@example("the cat\nthe  dog \n\n<eos> x<eos> <unk> ##a")
@example(SPACES)
def test_words(load, text):
    agree(load(WORDS), WORDS, text)


@settings(max_examples=60)
@given(ids=st.lists(st.integers(0, WORDS.size - 1), max_size=12))
def test_words_are_read_back_alike(load, ids):
    assert load(WORDS).decode(ids) == WORDS.decode(ids)


@pytest.mark.parametrize("vocabulary", [Bytes(), MERGES, Characters("ab "), WORDS], ids=lambda v: v.kind)
def test_batches_are_padded_on_the_left_with_the_number_after_the_last(load, vocabulary):
    tokenizer = load(vocabulary)
    assert tokenizer.pad_token_id == vocabulary.size == len(tokenizer) - 1
    batch = tokenizer(["a", "a a" if vocabulary is WORDS else "ab"], padding=True)
    assert batch.input_ids[0][0] == vocabulary.size
    assert batch.attention_mask == [[0, 1], [1, 1]]
    assert tokenizer.batch_decode(batch.input_ids, skip_special_tokens=True)[0] == "a"


def test_a_vocabulary_with_the_word_for_padding_is_refused():
    with pytest.raises(InputError, match="<pad>"):
        build_tokenizer(Words(["<pad>"]))


def with_special_tokens() -> Tokens:
    """A byte-level tokenizer that ends every text with a token of its own, if it is let."""
    tree = json.loads(EXAMPLE)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tree["model"] |= {"vocab": {"<end>": 0, **{c: i + 1 for i, c in enumerate(letters)}, "ab": 257}}
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    return Tokens(json.loads(tokenizer.to_str())).filled(300)


@settings(max_examples=60)
@given(text=TEXT)
@example("a<end>b <end>")
@example("é 漢 😀 \x00\x7f abab")
def test_a_tokenizer_of_others(load, text):
    vocabulary = with_special_tokens()
    tokenizer = load(vocabulary)
    ids = vocabulary.encode(text).tolist()
    assert tokenizer(text).input_ids == ids
    assert tokenizer.decode(ids) == vocabulary.decode(ids) == text
    assert tokenizer.pad_token == "<end>"


def test_a_tokenizer_of_others_without_special_tokens_gets_one_for_padding(load):
    tokenizer = load(Tokens(json.loads(EXAMPLE)))
    assert tokenizer("ab a").input_ids == [2, 3, 0]
    assert tokenizer.pad_token_id == 4
