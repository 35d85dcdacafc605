"""Text that comes in any pieces has the symbols that the whole text has, and its lines stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.data.vocabulary import build_vocabulary
from inn.inference.scoring import reader
from inn.inference.scoring.reader import LACKING, LEFT_OUT, LineReader
from inn.system.errors import InputError

TEXT = "the cat sat\n\non a  mat, ünder the\tsun\r\n  and € then\n\n\n the cats sat again \nlast"
KINDS = ("bytes", "characters", "words", "bpe")


def vocabulary(kind: str):
    if kind == "bpe":
        pytest.importorskip("tokenizers")
    return build_vocabulary(kind, TEXT * 20, 300)


def pieces_of(reader: LineReader, data: bytes, cuts: Sequence[int] = ()):
    found = []
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for a, b in pairwise(places):
        found += reader.feed(data[a:b])
    return [*found, *reader.end()]


def lines_of(pieces) -> list[tuple[bytes, list[int]]]:
    """Lines and their symbols, whatever pieces they came in."""
    lines, raw, ids = [], b"", []
    for piece in pieces:
        raw += piece.raw if isinstance(piece.raw, bytes) else piece.raw.encode("utf-8", "surrogateescape")
        ids += piece.ids.tolist()
        assert len(piece.ids) == len(piece.widths)
        assert piece.widths.sum() == len(piece.raw)
        if piece.ends:
            lines.append((raw, ids))
            raw, ids = b"", []
    return [*lines, (raw, ids)] if raw else lines


@pytest.mark.parametrize("kind", KINDS)
@given(cuts=st.lists(st.integers(0, len(TEXT.encode())), max_size=12))
def test_any_pieces_give_the_symbols_of_the_whole(kind, cuts):
    v, data = vocabulary(kind), TEXT.encode()
    lines = lines_of(pieces_of(LineReader(v), data, cuts))
    assert b"".join(raw for raw, _ in lines) == data
    assert [raw for raw, _ in lines] == data.splitlines(keepends=True) or kind == "bytes"
    assert len(lines) == TEXT.count("\n") + 1
    assert [i for _, ids in lines for i in ids if i >= 0] == v.encode(TEXT).tolist()


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=6), kind=st.sampled_from(KINDS))
def test_any_bytes_in_any_pieces_are_read(data, cuts, kind):
    v = vocabulary(kind)
    lines = lines_of(pieces_of(LineReader(v), data, cuts))
    assert lines == lines_of(pieces_of(LineReader(v), data))
    assert b"".join(raw for raw, _ in lines) == data
    assert len(lines) == data.count(b"\n") + (data[-1:] not in (b"", b"\n"))


def test_what_the_vocabulary_lacks_counts_or_is_left_out():
    v, data = build_vocabulary("characters", "ab\n"), "aéb\n".encode() + b"\xff\n"
    counted = [i for _, ids in lines_of(pieces_of(LineReader(v), data)) for i in ids]
    assert counted == [1, LACKING, 2, 0, LACKING, 0]
    skipped = [i for _, ids in lines_of(pieces_of(LineReader(v, "skip"), data)) for i in ids]
    assert skipped == [1, LEFT_OUT, 2, 0, LEFT_OUT, 0]


@pytest.mark.parametrize(
    "kind, data, sentence",
    [
        ("characters", "ab\naé\n".encode(), "line 2: <3 characters> lack 'é' (U+00E9); leave it out by --unknown skip"),
        ("characters", b"ab\n\nb\xff\n", "line 3: byte 0xff is not UTF-8"),
        ("words", b"ab\nab \xff ab\n", "line 2: byte 0xff is not UTF-8"),
        ("bpe", b"ab\n\xc3", "is not UTF-8"),
    ],
)
def test_or_is_an_error_that_names_the_line(kind, data, sentence):
    if kind == "bpe":
        pytest.importorskip("tokenizers")
    v = build_vocabulary(kind, "ab\n" * 9, 256)
    with pytest.raises(InputError) as error:
        pieces_of(LineReader(v, "error"), data)
    assert sentence in str(error.value)


def test_a_line_break_that_the_vocabulary_lacks_is_a_space_or_nothing():
    def read(letters: str, text: bytes):
        return [
            i for _, ids in lines_of(pieces_of(LineReader(build_vocabulary("characters", letters)), text)) for i in ids
        ]

    assert read("ab ", b"a\r\nb\n") == [1, LEFT_OUT, 0, 2, 0]
    assert read("ab", b"a\nb\r\n") == [0, LEFT_OUT, 1, LEFT_OUT, LEFT_OUT]
    assert read("ab\n\r", b"a\r\n") == [2, 1, 0]  # known ones are symbols like others
    assert read("ab\n", b"a\rb") == [1, LACKING, 2]  # no line break


def test_a_carriage_return_at_the_end_of_a_piece_waits_for_what_follows():
    v = build_vocabulary("characters", "ab\n")
    lines = lines_of(pieces_of(LineReader(v), b"a\r\nb\r\n", cuts=[2, 5]))
    assert [ids for _, ids in lines] == [[1, LEFT_OUT, 0], [2, LEFT_OUT, 0]]


def test_words_that_the_vocabulary_lacks_are_its_unknown_word():
    v = build_vocabulary("words", "the cat\n")
    assert [i for _, ids in lines_of(pieces_of(LineReader(v), b"the dog \xff\n")) for i in ids] == [3, 0, 0, 1]
    skipped = [i for _, ids in lines_of(pieces_of(LineReader(v, "skip"), b"the dog\n")) for i in ids]
    assert skipped == [3, LEFT_OUT, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_without_an_end_is_not_held(kind, monkeypatch):
    monkeypatch.setattr(reader, "LONGEST", 256)
    one, most = LineReader(vocabulary(kind)), 0
    for _ in range(200):
        list(one.feed(b"thecatsatonamat" * 3))
        most = max(most, len(one._held))
    assert most <= 256 + 45


def test_an_unknown_rule_is_refused():
    with pytest.raises(InputError, match="unknown cannot be 'cuont'; did you mean 'count'"):
        LineReader(build_vocabulary("bytes"), "cuont")


def test_symbols_over_a_line_break_belong_to_the_line_they_begin_in():
    pytest.importorskip("tokenizers")
    v = build_vocabulary("bpe", "a\n\n b" * 500, 300)
    data = b"a\n\n\n   b\n"
    lines = lines_of(pieces_of(LineReader(v), data))
    assert [raw for raw, _ in lines] == [b"a\n", b"\n", b"\n", b"   b\n"]
    assert np.concatenate([[i for i in ids if i >= 0] for _, ids in lines]).tolist() == v.encode(data).tolist()
