"""How work that takes its time tells of itself."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and how much there is in all (0: not known)."""


def nobody(what: str, done: int, total: int) -> None:
    """Report to nobody."""
