"""What options have in common: values that a field may hold."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

from inn.system.errors import InputError, nearest


def check_literals(config) -> None:
    """Raise `InputError` where a field holds a value that its `Literal` type does not list."""
    hints = get_type_hints(type(config))
    for f in fields(config):
        allowed = getattr(hints[f.name], "__args__", ()) if "Literal" in str(hints[f.name]) else ()
        value = getattr(config, f.name)
        if allowed and all(isinstance(a, str) for a in allowed) and value not in allowed:
            raise InputError(f"{f.name} cannot be '{value}'{nearest(str(value), allowed)}")


def check_at_least(config, least: int, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")


def check_fraction(config, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0.0 <= value < 1.0:
            raise InputError(f"{name} must be in [0, 1), not {value}")
