"""A passage of validation text begins with a sentence, if one is near."""

from __future__ import annotations

import numpy as np
import pytest

from inn.data.vocabulary import build_vocabulary
from inn.explorer.look import NEAR, beginning


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ity of it. One begins.\n\n   A paragraph comes. Then", "A paragraph"),
        ("ity of it, e.g. this (see 3.2). One begins", "One begins"),
        ('ity of "it." One begins', "One begins"),
        ("ity of it\nnot wrapped\nlines", "not wrapped"),
        ("ity of it and so on", "of it and"),
        ("ityofitandsoon", "ityofit"),
        ("子であった。二つ目の文", "二つ目"),
        ("ity é. Übung", "Übung"),
    ],
)
@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_it_begins_with_a_paragraph_a_sentence_a_line_or_a_word(text, expected, kind):
    vocabulary = build_vocabulary(kind, text + "x ")
    before = vocabulary.encode("x x ")
    symbols = np.concatenate([before, vocabulary.encode(text)])
    start = beginning(symbols, len(before), len(symbols) - 1, vocabulary)
    assert vocabulary.decode(symbols[start:]).startswith(expected)


def test_what_is_far_or_too_late_is_not_taken():
    vocabulary = build_vocabulary("bytes", "")
    text = np.frombuffer(b"a" * 10 + b"b" * (NEAR + 1) + b". C", np.uint8)
    assert beginning(text, 10, len(text), vocabulary) == 10
    text = np.frombuffer(b"a" * 10 + b"bbbb. C", np.uint8)
    assert [beginning(text, 10, latest, vocabulary) for latest in (15, 16)] == [10, 16]
    assert beginning(text, 0, 16, vocabulary) == 0  # that is the beginning
