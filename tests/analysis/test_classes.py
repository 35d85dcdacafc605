"""Classes of symbols, for every vocabulary, against sets written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from inn.analysis.measures.classes import symbol_classes
from inn.data.vocabulary import Bytes, Characters, Words, build_vocabulary

TEXT = "Hé said: (the 3 cats)\n“no”."


def members(text, vocabulary):
    """class -> the text of its symbols, joined."""
    symbols = vocabulary.encode(text)
    names = [vocabulary.symbol(int(i)) for i in symbols]
    return {name: [names[i] for i in np.flatnonzero(of)] for name, of in symbol_classes(symbols, vocabulary).items()}


def test_characters():
    found = {name: "".join(of) for name, of in members(TEXT, Characters(TEXT)).items()}
    assert found == {
        "vowel": "éaieao",
        "consonant": "Hsdthctsn",
        "space": "␣␣␣␣",
        "line end": "\\n",
        "digit": "3",
        "punctuation": ":.",
        "bracket": "()",
        "quote": "“”",
        "upper case": "H",
        "not ASCII": "é“”",
        "word start": "Hst3cn",
        "word inside": "aihat",
        "word end": "éde3so",
    }


def test_bytes_read_parts_of_characters_as_letters():
    found = members("né 1", Bytes())
    assert found["not ASCII"] == ["\\xc3", "\\xa9"]
    assert found["word start"] == ["n", "1"]
    assert found["word end"] == ["\\xa9", "1"]
    assert "vowel" not in found


def test_words_are_whole():
    found = members("the cat sat\n12 dog Responsible .", Words("the cat sat Responsible 12 .".split()))
    assert found == {
        "line end": ["<eos>"],
        "digit": ["12"],
        "punctuation": ["."],
        "upper case": ["Responsible"],
        "unknown word": ["<unk>"],
        "word start": ["the", "cat", "sat", "12", "Responsible"],
    }  # a word is its own start and end: one class, not two; the long word is the one in upper case


def test_sub_words():
    pytest.importorskip("tokenizers")
    found = members("the cats (12) on", build_vocabulary("bpe", "the cat sat on the mat the cat the cat (12)" * 4, 280))
    assert found["digit"] == ["12"]
    assert found["bracket"] == ["␣(", ")"]
    assert found["word start"] == ["the", "␣cat", "12", "␣on"]
    assert "s" in found["word end"]
    assert "␣cat" not in found["word end"]


def test_what_all_or_none_are_is_no_class():
    found = members("aaa", Characters("ab "))
    assert found == {"word start": ["a"], "word inside": ["a"], "word end": ["a"]}
    assert symbol_classes(np.zeros(0, dtype=np.int64), Characters("ab")) == {}


def test_numbers_outside_the_vocabulary():
    with pytest.raises(IndexError):
        symbol_classes(np.array([7]), Characters("ab"))
