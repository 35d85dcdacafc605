"""The one exception for mistakes a person can mend.

Everything below the command line raises `InputError` for bad input (an unknown name, a file that is not there,
a width that does not divide); the command line prints its sentence and exits with code 2, without a traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST = 300
"""Characters of a sentence, at most."""
_VALUE = 80


class InputError(ValueError):
    """A mistake in the user's input: one sentence that names the thing, the value and the remedy.

    The message is always one line, and long values are shortened, since they may come from a file.

    >>> len(str(InputError(f"cannot be '{'x' * 9999}'; choose another")))
    105
    """

    def __init__(self, sentence: str = ""):
        super().__init__(_shortened(sentence))


def _shortened(sentence: str) -> str:
    flat = "".join(map(_shown, _cut(sentence, 10**4)))
    if len(flat) > LONGEST:  # what is known ends sooner, then values are cut, then the middle: the remedy is at the end
        flat = re.sub(r"(; known: .{80}[^,]*).*", r"\1, …", flat)
    if len(flat) > LONGEST:
        parts = re.split(r"(\S{81,}|'[^']{81,}'|\[[^]]{81,}\]|\{[^}]{81,}\})", flat)
        flat = "".join(_cut(part, _VALUE) if i % 2 else part for i, part in enumerate(parts))
    return _cut(flat, LONGEST)


def _shown(c: str) -> str:
    return c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode()


def _cut(text: str, most: int) -> str:
    kept = most - 1
    return text if len(text) <= most else f"{text[: kept * 2 // 3]}…{text[-(kept - kept * 2 // 3) :]}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the known name closest to `name`, else the list of known names.

    >>> nearest("txt8", ["text8", "enwik8"])
    "; did you mean 'text8'?"
    >>> nearest("zzz", ["text8", "enwik8"])
    '; known: enwik8, text8'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def lookup(what: str, name: str, table: dict):
    """Return `table[name]`, or raise an `InputError` that names the nearest key.

    >>> lookup("corpus", "a", {"a": 1})
    1
    """
    if not isinstance(name, str) or name not in table:
        raise InputError(f"unknown {what} '{name}'{nearest(str(name), table)}")
    return table[name]
