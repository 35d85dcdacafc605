"""Classes of symbols: what a neuron may carry, by the text that a symbol stands for.

A class is about letters, digits, signs or the place in a word, whatever the symbols are: bytes, characters, sub-words
or words. A symbol of several characters is of a class where all its letters and signs are (a vowel is one letter).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np

from inn.data.base import Vocabulary
from inn.data.vocabulary import END, UNKNOWN

BRACKETS, QUOTES = "()[]{}<>", "\"'`´‘’“”«»"


def symbol_classes(symbols: np.ndarray, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """The classes of a text's symbols: class -> `[n]` bool, one for each symbol of `symbols` `[n]`.

    Classes that no symbol or every symbol is of are left out, and those that another one is equal to. The place in a
    word counts letters and digits; a `word end` is known only from the symbol after it. Raises `IndexError` for
    numbers outside the vocabulary.

    >>> from inn.data.vocabulary import Characters
    >>> v = Characters("a bc1")
    >>> found = symbol_classes(v.encode("a cab 1"), v)
    >>> [i for i, one in enumerate(found["vowel"]) if one], sorted(found)
    ([0, 3], ['consonant', 'digit', 'space', 'vowel', 'word end', 'word inside', 'word start'])
    """
    ids = vocabulary.checked(symbols)
    texts = [text_of_symbol(vocabulary, i) for i in range(vocabulary.size)]
    found: dict[str, np.ndarray] = {}
    for name, test in TESTS.items():
        table = np.array([test(text) for text in texts], dtype=bool)
        found[name] = table[ids]
    found |= _places(ids, texts, apart=vocabulary.kind == "words")
    kept: dict[str, np.ndarray] = {}
    for name, of in found.items():
        if of.any() and not of.all() and not any(np.array_equal(of, other) for other in kept.values()):
            kept[name] = of
    return kept


def text_of_symbol(vocabulary: Vocabulary, i: int) -> str:
    """The text of one symbol by itself; `<unk>` and the end of a line are what they say."""
    if vocabulary.kind == "words":
        return {END: "\n"}.get(vocabulary.symbol(i), vocabulary.symbol(i))
    return vocabulary.decode([i])


def _all(text: str, test: Callable[[str], bool]) -> bool:
    bare = text.strip()
    return bool(bare) and bare != UNKNOWN and all(map(test, bare))


def _letter(text: str) -> str:
    """The one letter that a text is, in lower case without its accents, or nothing."""
    bare = text.strip()
    return unicodedata.normalize("NFD", bare)[0].lower() if len(bare) == 1 and bare.isalpha() else ""


def _latin(letter: str) -> bool:
    return "a" <= letter <= "z"


def _sign(c: str) -> bool:
    return not c.isalnum() and not c.isspace() and c not in BRACKETS + QUOTES and c.isprintable() and c != "\ufffd"


TESTS: dict[str, Callable[[str], bool]] = {
    "vowel": lambda text: _letter(text) != "" and _letter(text) in "aeiou",
    "consonant": lambda text: _latin(_letter(text)) and _letter(text) not in "aeiou",
    "space": lambda text: bool(text) and text.isspace() and "\n" not in text,
    "line end": lambda text: "\n" in text,
    "digit": lambda text: _all(text, str.isdigit),
    "punctuation": lambda text: _all(text, _sign),
    "bracket": lambda text: _all(text, lambda c: c in BRACKETS),
    "quote": lambda text: _all(text, lambda c: c in QUOTES),
    "upper case": lambda text: text.strip()[:1].isupper(),
    "not ASCII": lambda text: not text.isascii(),
    "unknown word": lambda text: text.strip() == UNKNOWN,
    "long word": lambda text: len(text.strip()) >= 7 and _all(text, str.isalpha),
}
"""What a symbol's own text says of it."""


def _places(ids: np.ndarray, texts: list[str], apart: bool) -> dict[str, np.ndarray]:
    """The place in a word; `apart`: there is white space between any two symbols."""

    def word(c: str) -> bool:
        return c.isalnum() or c == "\ufffd"  # a part of a character is likely to be one of a letter

    def table(test: Callable[[str], bool]) -> np.ndarray:
        return np.array([bool(text) and text != UNKNOWN and test(text) for text in texts], dtype=bool)[ids]

    some, opens, closes = (
        table(lambda t: word(t.strip()[-1:])),
        table(lambda t: word(t[0])),
        table(lambda t: word(t[-1])),
    )
    joins = np.zeros(len(ids), dtype=bool)  # to the word of the symbol before
    if not apart:
        joins[1:] = opens[1:] & closes[:-1]
    joined = np.append(joins[1:], False)  # by the symbol after
    return {
        "word start": some & ~joins,
        "word inside": some & joins & joined,
        "word end": some & ~joined,
    }
