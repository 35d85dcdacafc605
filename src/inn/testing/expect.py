"""What all checks have in common: a kind by its name or class, and sentences for what does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from inn.registry import Kinds


def expect(holds: Any, sentence: str) -> None:
    """Raise an `AssertionError` with this sentence where something does not hold."""
    if not holds:
        raise AssertionError(sentence)


def expect_equal(found: Any, expected: Any, sentence: str) -> None:
    """Raise an `AssertionError` that names both where two things differ."""
    expect(found == expected, f"{sentence}: {found}, not {expected}")


@contextmanager
def named(kinds: Kinds, kind: Any) -> Iterator[str]:
    """The name of a kind that is given by name or as a class; one that nobody has registered is lent a name."""
    if isinstance(kind, str):
        kinds.check(kind)
        yield kind
        return
    known: Sequence[str] = [name for name in kinds if kinds[name] is kind]
    if known:
        yield known[0]
        return
    with kinds.lent(kind.__name__, kind):
        yield kind.__name__
