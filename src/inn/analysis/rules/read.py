"""What was read, as questions look at it: symbols with those before them, their texts, what was recalled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from inn.analysis.measures.classes import TESTS, text_of_symbol
from inn.analysis.recording.stretches import Neurons, Reading
from inn.data.base import Vocabulary
from inn.models.inn import INN
from inn.nn.recall.base import Found

_RUN = 8
"""Entries of recall are symbol x 8 + how often in a row the guess was right (`inn.ops.lookup`, `inn.ops.counts`)."""
_RECALLED = 8
"""Contexts of recall that are asked about: the first ones that differ."""

Recall = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Read:
    """Rows that were read, `[K, L]`, of which the last T steps are looked at.

    Attributes:
        given: `[K, L]` symbols, or `[K, L, F]` numbers of a signal.
        begins: `[K, L]` bool, where a sequence begins; the first step of each row at least.
        steps: T.
        vocabulary: of the symbols, or the names of the channels.
        recall: by context, what it recalled as coming next after each step `[K, L]`, and -1 of nothing, and how often
            in a row it was right.
    """

    given: np.ndarray
    begins: np.ndarray
    steps: int
    vocabulary: Vocabulary
    recall: Recall

    @property
    def signal(self) -> bool:
        """Whether numbers were read, and not symbols."""
        return self.given.ndim == 3

    def cut(self, values: np.ndarray) -> np.ndarray:
        """Of values `[K, L]` those of the steps that are looked at, `[K, T]`."""
        return values[:, values.shape[1] - self.steps :]

    def back(self, values: np.ndarray, k: int, empty: Any = False) -> np.ndarray:
        """Values `[K, L]` as they were k steps before; `empty` where the sequence had not begun."""
        if k == 0:
            return values
        moved = np.full_like(values, empty)
        moved[:, k:] = values[:, :-k]
        moved[self.place < k] = empty
        return moved

    def since(self, event: np.ndarray) -> np.ndarray:
        """Steps since an event `[K, L]` last came, 0 where it is; since before the beginning where it did not come."""
        at = np.arange(event.shape[1])
        last = np.maximum.accumulate(np.where(event, at, -1), 1)
        first = at - self.place
        return at - np.where(last >= first, last, first - 1)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Values `[K, L]` added up from the beginning of each sequence on."""
        sums = values.astype(np.int64).cumsum(1)
        before = np.where(self.begins, sums - values, 0)  # sums may fall: the latest beginning, not the largest
        rows = np.arange(len(sums))[:, None]
        return sums - before[rows, np.arange(sums.shape[1]) - self.place]

    def symbol(self, i: int) -> str:
        """What a symbol is called in a rule."""
        text = self.texts[i]
        named = {" ": "a space", "\n": "a line end", "'": '"\'"', "": "nothing", "\t": "a tab"}
        return named.get(text, f"'{text}'" if text.isprintable() else repr(text))

    @cached_property
    def place(self) -> np.ndarray:
        """Steps since the sequence began, `[K, L]`."""
        at = np.arange(self.begins.shape[1])
        return at - np.maximum.accumulate(np.where(self.begins, at, 0), 1)

    @cached_property
    def texts(self) -> list[str]:
        """The text of every symbol."""
        return [text_of_symbol(self.vocabulary, i) for i in range(self.vocabulary.size)]

    @cached_property
    def letters(self) -> bool:
        """Whether symbols are characters, bytes or pieces of a text: then there are words, quotes, brackets."""
        return not self.signal and self.vocabulary.kind in ("characters", "bytes", "tokenizer", "bpe")

    @cached_property
    def classes(self) -> dict[str, np.ndarray]:
        """Which symbols are of each class, `[V]` bool."""
        tables = {name: np.array([test(text) for text in self.texts], bool) for name, test in TESTS.items()}
        return {name: table for name, table in tables.items() if table.any() and not table.all()}

    def of(self, *chars: str) -> np.ndarray:
        """Where one of these texts was read, `[K, L]` bool."""
        return np.array([text.strip() in chars for text in self.texts], bool)[self.given]

    @cached_property
    def in_word(self) -> np.ndarray:
        """Where what was read last is of a word, `[K, L]` bool."""
        return np.array([text[-1:].isalnum() for text in self.texts], bool)[self.given]

    @cached_property
    def words(self) -> tuple[np.ndarray, list[str]]:
        """The word so far, `[K, L]` as numbers of a list of texts; 0 is no word. Runs of letters and digits."""
        names: dict[str, int] = {"": 0}
        found = np.zeros(self.given.shape, np.int64)
        for k, row in enumerate(self.given.tolist()):
            word = ""
            for t, i in enumerate(row):
                text = self.texts[i]
                word = (("" if self.begins[k, t] else word) + text.lower()) if self.in_word[k, t] else ""
                word = word.split()[-1] if word.split() else ""
                found[k, t] = names.setdefault(word, len(names))
        return found, list(names)

    @cached_property
    def last_words(self) -> np.ndarray:
        """The last word that has ended, `[K, L]` as numbers of the same list; 0 before there is one."""
        now, found = self.words[0], np.zeros(self.given.shape, np.int64)
        for k in range(len(now)):
            last = 0
            for t in range(now.shape[1]):
                if self.begins[k, t]:
                    last = 0
                elif now[k, t] == 0 and now[k, t - 1] != 0:
                    last = int(now[k, t - 1])
                found[k, t] = last
        return found

    def inside(self, mark: str) -> np.ndarray:
        """Between two marks of a kind, `[K, L]` bool: after an odd number of them, the opening one included."""
        return self.total(self.of(mark)) % 2 == 1

    @cached_property
    def depth(self) -> np.ndarray:
        """Brackets that are open, `[K, L]`; one that closes nothing counts nothing."""
        sums = self.total(self.of(*"([{").astype(np.int64) - self.of(*")]}").astype(np.int64))
        lowest = np.zeros_like(sums)
        for row, low, begins in zip(sums, lowest, self.begins):
            edges = [*np.flatnonzero(begins).tolist(), len(row)]
            for a, b in pairwise(edges):
                low[a:b] = np.minimum.accumulate(np.minimum(row[a:b], 0))
        return sums - lowest


def read_of(part: Reading, vocabulary: Vocabulary, recall: Recall | None = None) -> Read:
    """What is read of some rows, the steps of the warm-up before them included, and what is recalled there."""
    given = part.read.cpu().numpy()
    begins = np.zeros(given.shape[:2], bool) if part.resets is None else part.resets.cpu().numpy().copy()
    begins[:, 0] = True
    return Read(given, begins, given.shape[1] - part.warmup, vocabulary, recall or {})


def looked_up(model: Neurons) -> dict[str, tuple[int, int]]:
    """The contexts of recall that are asked about, by name: a neuron that has it, and its place there."""
    chosen: dict[str, tuple[int, int]] = {}
    if isinstance(model, INN) and model.recall is not None:
        for n in range(model.config.neurons):
            for m, one in enumerate(model.recall.contexts(n)):
                name = f"the last {one} symbols" if isinstance(one, int) else str(one)
                chosen.setdefault("the last symbol" if one == 1 else name, (n, m))
    return dict(list(chosen.items())[:_RECALLED])


def recall_of(chosen: dict[str, tuple[int, int]], found: Found | None) -> Recall:
    """What was recalled in these contexts; nothing where a kind of recall finds something else than symbols."""
    entry = None if found is None else found.get("last", found.get("found"))
    if entry is None or entry.ndim != 4:
        return {}
    each = {name: entry[:, :, n, m].cpu().numpy().astype(np.int64) for name, (n, m) in chosen.items()}
    return {name: (np.where(e < 0, -1, e // _RUN), np.where(e < 0, 0, e % _RUN)) for name, e in each.items()}


def one_after_another(many: Sequence[Recall]) -> Recall:
    """Rows after rows."""
    return {
        name: (np.concatenate([r[name][0] for r in many]), np.concatenate([r[name][1] for r in many]))
        for name in (many[0] if many else ())
    }
