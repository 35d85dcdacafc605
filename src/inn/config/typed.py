"""Functions for people: their plain arguments are checked against their annotations, before anything is done."""

from __future__ import annotations

import inspect
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from inn.config.checks import expects, fits
from inn.system.errors import InputError

F = TypeVar("F", bound=Callable)
_PLAIN = (int, float, bool, str, type(None))


def typed(function: F) -> F:
    """A function that raises `InputError` for a number, text, path, list or model of another type than it says.

    >>> @typed
    ... def twice(count: int = 1) -> int:
    ...     return 2 * count
    >>> twice("3")
    Traceback (most recent call last):
    inn.system.errors.InputError: count must be a whole number, not '3'
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options).arguments
        for name, hint in _hints(function).items():
            if name in given:
                value = given[name]
                several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
                for one in value if several else (value,):
                    if not _suits(one, hint):
                        raise InputError(f"{name} must be {_words(hint)}, not {shown(one)}")
        return function(*args, **options)

    return call  # type: ignore[return-value]


def shown(value: Any) -> str:
    """A value in a sentence; what is large or has no short name by its type."""
    plain = value is None or isinstance(value, str | bytes | bool | int | float | os.PathLike)
    if isinstance(value, list | tuple) and len(value) < 5 and all(one is None or type(one) in _PLAIN for one in value):
        return repr(value)
    return repr(value) if plain else f"a {type(value).__name__}"


@cache
def _hints(function: Callable) -> dict[str, Any]:
    """The annotations of the arguments; those that cannot be known here are left out."""
    known, found = vars(sys.modules[function.__module__]), {}
    for name, hint in function.__annotations__.items():
        try:
            found[name] = eval(hint, dict(known)) if isinstance(hint, str) else hint
        except NameError:
            continue
    found.pop("return", None)
    return found


def _suits(value: Any, hint: Any) -> bool:
    origin, of = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if any((get_origin(one) or one) in (Path, os.PathLike) for one in of) and "\0" in _text(value):
            return False  # no file has such a name
        return any(_suits(value, one) for one in of)
    if origin is os.PathLike:
        return isinstance(value, os.PathLike)
    if origin is Sequence and isinstance(value, range):
        return _suits(0, of[0])  # as long as it may be
    if origin is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_suits(one, of[0]) for one in value)
    if origin is Callable:
        return callable(value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if hint is float and isinstance(value, float):
        return True  # what is not finite is the function's own to refuse
    if hint is not Any and isinstance(hint, type) and hint not in _PLAIN and not getattr(hint, "_is_protocol", False):
        return isinstance(value, hint)
    return fits(value, hint)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | os.PathLike) else ""


def _words(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, get_args(hint))))
    origin = get_origin(hint) or hint
    words = {
        Sequence: "a list of whole numbers" if get_args(hint) == (int,) else "a list",
        Mapping: "a mapping like {'width': 8}",
        Callable: "a function",
        os.PathLike: "a path",
        Path: "a path",
    }
    if origin in words:
        return words[origin]
    known = expects(hint)
    return f"a {hint.__name__}" if known == "a value" and isinstance(hint, type) else known
