"""The size of a text, in units of no vocabulary, and of the part of it that a score is about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.config.run import DataConfig
from inn.data.prepare import prepare
from inn.data.size import TextSize, scored_size, size_of

STORY = " the  naïve cat \n\n sat <unk> on the mat\n" * 60


def counted(text: str) -> TextSize:
    return TextSize(len(text.encode()), len(text), len(text.replace("\n", " <eos> ").split()))


@given(st.text("ab é🐕\n\t\u2003", max_size=60), st.integers(1, 7))
def test_a_text_in_blocks_has_the_size_of_the_whole(text, size):
    raw = text.encode()
    assert size_of(raw[i : i + size] for i in range(0, len(raw), size)) == counted(text)


@pytest.mark.parametrize("vocabulary", ["bytes", "characters", "bpe"])
@pytest.mark.parametrize("limit", [None, 2, 60])
def test_what_is_scored_is_all_but_the_first_symbol(tmp_path, vocabulary, limit, monkeypatch):
    monkeypatch.setattr("inn.data.size._CHUNK", 7)
    (tmp_path / "text.txt").write_text(STORY)
    units = {"units": 280} if vocabulary == "bpe" else {}
    data = prepare(DataConfig(corpus=f"file:{tmp_path / 'text.txt'}", vocabulary=vocabulary, **units))
    symbols = data.train[:limit]
    assert scored_size(data, "train", symbols) == counted(data.vocabulary.decode(symbols[1:]))


@pytest.mark.parametrize("block", [5, 1 << 20])
@pytest.mark.parametrize("limit", [None, 2, 3, 50])
def test_of_words_it_is_the_text_itself_with_its_white_space(tmp_path, limit, block, monkeypatch):
    monkeypatch.setattr("inn.data.text.BLOCK", block)
    (tmp_path / "text.txt").write_text(STORY)
    data = prepare(DataConfig(corpus=f"file:{tmp_path / 'text.txt'}", vocabulary="words"))
    symbols = data.train[:limit]
    size = scored_size(data, "train", symbols)
    assert size is not None
    assert size.words == len(symbols) - 1
    if limit is None:
        start = len(" the")
        text = STORY.encode()[: len(STORY.encode()) * 90 // 100].decode()
        assert abs(size.bytes - len(text.encode()) + start) <= len("naïve cat")  # the cut moves back to a word
    elif limit == 2:
        assert size == counted("  naïve")
    elif limit == 3:
        assert size == counted("  naïve cat")


def test_words_that_became_unknown_leave_no_size(tmp_path):
    (tmp_path / "text.txt").write_text("known words <unk>\n" * 90 + "other words here\n" * 10)
    data = prepare(DataConfig(corpus=f"file:{tmp_path / 'text.txt'}", vocabulary="words"))
    assert scored_size(data, "test", data.test) is None
    assert scored_size(data, "train", data.train) is not None


def test_a_text_that_is_gone_or_another_leaves_no_size(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(STORY)
    data = prepare(DataConfig(corpus=f"file:{path}", vocabulary="words"))
    path.write_text(STORY.replace("cat", "cow"))
    assert scored_size(data, "train", data.train) is None
    path.unlink()
    assert scored_size(data, "train", data.train) is None


def test_the_words_of_the_penn_treebank(real_data):
    """82,430 words of the test part, line ends among them, as everyone counts them."""
    real_data("ptb.train.txt.xz")
    data = prepare(DataConfig(corpus="ptb", vocabulary="words"))
    assert len(data.test) == 82_430
    assert data.vocabulary.size == 10_000
    assert scored_size(data, "test", data.test) == TextSize(449_945 - len(" no"), 449_945 - len(" no"), 82_429)
    assert np.count_nonzero(data.train == 0) > np.count_nonzero(data.train == 9_999)
