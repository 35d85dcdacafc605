"""Questions with the answer yes or no about what was read up to a step: what rules are made of.

Each is a function of this file, which yields what may be asked of a text: how it is said, and how it is answered. Which
symbols and words are asked about is found in the text that rules are made from; the same questions are then put to
another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inn.analysis.rules.read import Read

RARE = 0.002
"""Share of the steps with the rarer answer below which a question is not asked."""
SYMBOLS, PIECES, WORDS = 40, 40, 24
"""Symbols, sequences of two and of three, and words that are asked about: the commonest."""
BACK, CLASSES_BACK = 4, 3
"""Steps back that symbols and their classes are asked about, that of the symbol read last included."""
COUNTED = 12
"""Symbols of an alphabet up to which they are counted from the beginning on."""
LEVELS = 8
"""Levels of a channel of numbers that are asked about."""
ORDER = ("last", "2nd last", "3rd last", "4th last")


@dataclass(frozen=True)
class Question:
    """A question about a step.

    Attributes:
        yes, no: what is said where the answer is yes, and where it is no: `the last is 'e'`, `the last is not 'e'`.
        answer: of what was read, `[K, L]` bool.
        variable: what it asks the value of, where it does: at most one question of a variable is answered by yes.
        value: how that value is said.
    """

    yes: str
    no: str
    answer: Callable[[Read], np.ndarray]
    variable: str = ""
    value: str = ""


def questions(read: Read) -> list[Question]:
    """What may be asked of a text: neither what is nearly always so nor what is answered as another question.

    >>> from inn.data.vocabulary import Characters
    >>> v = Characters("ab ")
    >>> rows = v.encode("ab a ab b " * 9)[None].astype(np.int64)
    >>> read = Read(rows, np.arange(90)[None] == 0, 90, v, {})
    >>> [q.yes for q in questions(read)][:3]
    ['last is a space', "last is 'a'", "last is 'b'"]
    """
    found, seen = [], set()
    for question in _signal(read) if read.signal else _symbols(read):
        answer = read.cut(question.answer(read))
        share = answer.mean()
        key = answer.tobytes()
        if RARE <= share <= 1 - RARE and key not in seen:
            seen |= {key, (~answer).tobytes()}
            found.append(question)
    return found


def variables(asked: Sequence[Question]) -> list[list[int]]:
    """The questions about each variable's values."""
    found: dict[str, list[int]] = {}
    for i, question in enumerate(asked):
        if question.variable:
            found.setdefault(question.variable, []).append(i)
    return list(found.values())


def words(asked: Sequence[Question], yes: bool) -> str:
    """What is said of a step where any of some questions is answered by yes, or none.

    >>> words([Question("", "", lambda r: r.given == i, "last", f"'{i}'") for i in range(2)], False)
    "last is none of '0', '1'"
    """
    if len(asked) == 1:
        return asked[0].yes if yes else asked[0].no
    return f"{asked[0].variable} is {'one' if yes else 'none'} of {', '.join(one.value for one in asked)}"


def answers(asked: Sequence[Question], read: Read) -> Tensor:
    """The answers at the steps that are looked at, `[K x T, Q]` bool; each question's lie together in memory."""
    if not asked:
        return torch.zeros(read.given.shape[0] * read.steps, 0, dtype=torch.bool)
    return torch.from_numpy(np.stack([read.cut(q.answer(read)).ravel() for q in asked])).T


def _symbols(read: Read) -> Iterator[Question]:
    for part in (_symbol, _class, _piece, _word, _line, _marks, _runs, _recall, _counts):
        yield from part(read)


def _is(what: str, said: str, answer: Callable[[Read], np.ndarray], value: bool = False) -> Question:
    """Whether something is so; `value`: it is one of the values of a variable."""
    of = (what, said.removeprefix("a ")) if value else ("", "")
    return Question(f"{what} is {said}", f"{what} is not {said}", answer, *of)


def _least(what: str, values: Callable[[Read], np.ndarray], levels: Iterable[int], of: str = "") -> Iterator[Question]:
    """Whether a number is at least so large."""
    for n in levels:
        yield Question(f"{what} ≥ {n}{of}", f"{what} < {n}{of}", lambda r, n=n: values(r) >= n)


def _commonest(values: np.ndarray, count: int) -> list[int]:
    ids, counts = np.unique(values, return_counts=True)
    return ids[np.argsort(-counts, kind="stable")][:count].tolist()


def _symbol(read: Read) -> Iterator[Question]:
    common = sorted(_commonest(read.given, SYMBOLS))
    for k in range(BACK):
        for i in common:
            yield _is(ORDER[k], read.symbol(i), lambda r, k=k, i=i: r.back(r.given == i, k), True)


def _class(read: Read) -> Iterator[Question]:
    for k in range(CLASSES_BACK):
        for name in read.classes:
            of = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
            yield _is(ORDER[k], of, lambda r, k=k, name=name: r.back(r.classes[name][r.given], k))


def _piece(read: Read) -> Iterator[Question]:
    if not read.letters:
        return
    size = read.vocabulary.size
    for length in (2, 3):
        code = np.sum([read.back(read.given, k, 0).astype(np.int64) * size**k for k in range(length)], 0)
        for piece in _commonest(code, PIECES):
            ids = [piece // size**k % size for k in range(length)]
            text = "".join(read.texts[i] for i in reversed(ids))

            def answer(r: Read, ids: list[int] = ids) -> np.ndarray:
                return np.logical_and.reduce([r.back(r.given == i, k) for k, i in enumerate(ids)])

            yield Question(f"ends in {text!r}", f"does not end in {text!r}", answer)


def _word(read: Read) -> Iterator[Question]:
    if not read.letters:
        return
    yield Question("inside a word", "not inside a word", lambda r: r.in_word)
    yield from _least("letters of the word", lambda r: r.since(~r.in_word), range(2, 9))
    yield from _least("symbols since a word", lambda r: r.since(r.in_word), range(2, 5))
    for what, of in (("word so far", lambda r: r.words[0]), ("word before", lambda r: r.last_words)):
        for i in _commonest(of(read), WORDS + 1):
            if text := read.words[1][i]:
                yield _is(f"the {what}", f"'{text}'", lambda r, of=of, text=text: of(r) == _number(r, text), True)


def _number(read: Read, word: str) -> int:
    names = read.words[1]
    return names.index(word) if word in names else -1


def _line(read: Read) -> Iterator[Question]:
    if not read.letters:
        return
    ends = "line end" in read.classes
    if ends:
        end = lambda r: r.classes["line end"][r.given]  # noqa: E731
        yield from _least("symbols into the line", lambda r: r.since(end(r)), (1, 2, 3, 5, 8, 16, 32, 48, 64))
        space = lambda r: r.of("") & ~end(r)  # noqa: E731
        yield Question(
            "in the line's indent",
            "past the line's indent",
            lambda r: r.since(~space(r) & ~end(r)) >= r.since(end(r)),
        )
    if (stops := np.array([t.strip() in (".", "!", "?") for t in read.texts])).any():
        yield from _least("symbols into the sentence", lambda r: r.since(stops[r.given]), (3, 8, 16, 32, 64))


def _marks(read: Read) -> Iterator[Question]:
    if not read.letters:
        return
    for mark in ('"', "`"):
        yield Question(f"inside {mark} {mark}", f"outside {mark} {mark}", lambda r, m=mark: r.inside(m))
    yield from _least("open brackets", lambda r: r.depth, (1, 2))


def _runs(read: Read) -> Iterator[Question]:
    same = lambda r: r.since(r.given != r.back(r.given, 1, -1)) + 1  # noqa: E731
    yield from _least("times the last symbol in a row", same, (2, 3, 5, 8))
    if "digit" in read.classes:
        yield from _least("digits in a row", lambda r: r.since(~r.classes["digit"][r.given]), (2, 3, 4))
    if "upper case" in read.classes:
        yield from _least("capitals in a row", lambda r: r.since(~r.classes["upper case"][r.given]), (2, 3, 4))


def _recall(read: Read) -> Iterator[Question]:
    for name, (guesses, _) in read.recall.items():
        after = f"what followed {name}"
        yield _is(after, "known", lambda r, n=name: r.recall[n][0] >= 0)
        yield from _least(f"right in a row after {name}", lambda r, n=name: r.recall[n][1], (1, 2, 4, 7))
        for i in _commonest(guesses[guesses >= 0], SYMBOLS // 2):
            yield _is(after, read.symbol(i), lambda r, n=name, i=i: r.recall[n][0] == i, True)
        for kind in read.classes:
            of = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
            yield _is(after, of, lambda r, n=name, c=kind: (r.recall[n][0] >= 0) & r.classes[c][r.recall[n][0]])


def _counts(read: Read) -> Iterator[Question]:
    if read.begins[:, 1:].any() or not read.letters:
        yield from _steps()
    if read.vocabulary.size <= COUNTED:
        for m in range(2, 6):
            for i in range(read.vocabulary.size):
                for rest in range(m - 1 if m == 2 else m):
                    said = f"the number of {read.symbol(i)} so far, modulo {m},"
                    yield _is(said, str(rest), lambda r, i=i, m=m, rest=rest: r.total(r.given == i) % m == rest, m > 2)


def _steps() -> Iterator[Question]:
    yield from _least("steps into the sequence", lambda r: r.place + 1, (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128))


def _signal(read: Read) -> Iterator[Question]:
    for c in range(read.given.shape[2]):
        name = read.vocabulary.symbol(c) if c < read.vocabulary.size else f"channel {c}"
        values = read.given[..., c]
        levels = sorted(set(np.nanquantile(values, (np.arange(LEVELS) + 0.5) / LEVELS).tolist()))
        moves = np.diff(values, axis=1)
        steps = sorted(set(np.nanquantile(moves, (0.1, 0.3, 0.7, 0.9)).tolist())) if moves.size else []
        yield _is(name, "missing", lambda r, c=c: np.isnan(r.given[..., c]))
        for k in (0, 1, 2, 4, 8):
            when = "" if k == 0 else f" {k} step{'s' if k > 1 else ''} before"
            for level in levels:
                at = lambda r, c=c, k=k, v=level: r.back(r.given[..., c] > v, k)  # noqa: E731
                yield Question(f"{name}{when} > {level:.3g}", f"{name}{when} ≤ {level:.3g}", at)
        for step in steps:
            at = lambda r, c=c, v=step: r.given[..., c] - r.back(r.given[..., c], 1, np.nan) > v  # noqa: E731
            yield Question(f"{name} changed by > {step:.3g}", f"{name} changed by ≤ {step:.3g}", at)
    yield from _steps()
