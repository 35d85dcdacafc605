"""Keys of lines: what says which process, host or user a line is of; free of PyTorch, so that help need not wait."""

from __future__ import annotations

import re

from inn.system.errors import InputError

KEYS = 1000
"""Keys whose states are kept."""


def finder(key: str) -> re.Pattern[str]:
    """What finds a line's key; raises `InputError` for what is no regular expression."""
    try:
        return re.compile(key)
    except re.error as error:
        raise InputError(f"key '{key}' is no regular expression: {error}; give one, as in 'sshd.(\\d+)'") from None


def key_of(find: re.Pattern[str], line: str) -> str | None:
    r"""The key of a line: what the first group matches, or all where there is no group; None without a match.

    >>> key_of(finder(r"sshd\[(\d+)\]"), "LabSZ sshd[24200]: Connection closed")
    '24200'
    """
    found = find.search(line)
    return found and found[1 if find.groups else 0]


def check_keys(keys: int) -> None:
    """Raise `InputError` where no key would be kept."""
    if keys < 1:
        raise InputError(f"keys must be at least 1, not {keys}")
