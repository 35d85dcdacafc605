"""The one exception for mistakes a person can mend.

Everything below the command line raises `InputError` for bad input (an unknown name, a file that is not there,
a width that does not divide); the command line prints its sentence and exits with code 2, without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A mistake in what the user gave: one sentence naming the thing, the value and the remedy."""


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
    if name not in table:
        raise InputError(f"unknown {what} '{name}'{nearest(name, table)}")
    return table[name]
