"""JSON and YAML that anybody may have written: whatever is in them, reading ends soon, and in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from inn.system.errors import InputError
from inn.system.files import read_file

DEPTH = 100
"""Lists and fields inside one another, at most."""
NODES = 1_000_000
"""Values in a YAML text, at most, one that is named again counted again: names of names multiply."""
YAML_BYTES = 4 << 20
JSON_BYTES = 1 << 30
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it is there, takes an eighth of the time


def read_json(path: str | Path, kind: type = dict) -> Any:
    """The JSON of a file; raises `InputError` where it is missing, no regular file, no JSON, or not of this kind."""
    return parse_json(read_file(path, JSON_BYTES), f"'{path}'", kind)


def parse_json(text: str | bytes, what: str, kind: type = dict) -> Any:
    """The value of a JSON text, of a `kind`, its numbers finite and of 64 bits or so; `what` is its name in errors.

    >>> parse_json("[1, 2]", "this", list)
    [1, 2]
    >>> parse_json("[" * 100_000, "this")
    Traceback (most recent call last):
    inn.system.errors.InputError: cannot read this: it is missing or damaged (it is nested too deeply)
    """

    def parse() -> Any:
        try:
            value = json.loads(text, parse_int=_whole, parse_constant=_no_number)
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON: {error}") from None
        if not isinstance(value, kind):
            raise ValueError("it holds no fields" if kind is dict else f"it is no {kind.__name__}")
        return value

    return _checked(parse, f"cannot read {what}: it is missing or damaged", None)


def read_yaml(path: str | Path, what: str) -> Any:
    """The value of a YAML file in UTF-8: plain data of bounded depth and size; `what` is its name in errors."""
    text = read_file(path, YAML_BYTES)

    def parse() -> Any:
        check_yaml(text.decode())
        return yaml.load(text, _LOADER)  # noqa: S506 (a safe one)

    return _checked(parse, f"{what} is not valid YAML", NODES)


def _checked(parse: Callable[[], Any], sentence: str, most: int | None) -> Any:
    try:
        value = parse()
        _check(value, most)
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as error:  # a parser of YAML raises a dozen kinds
        mark = getattr(error, "problem_mark", None)
        reason = f"line {mark.line + 1}" if mark else " ".join(str(error).split()) or type(error).__name__
    else:
        return value
    raise InputError(f"{sentence} ({reason})")


def _check(tree: Any, most: int | None) -> None:
    """Raise for what is nested too deeply, holds too many values, or values that are no plain data."""
    stack, count = [(tree, 0)], 0
    while stack:
        value, depth = stack.pop()
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        count += len(inside)
        if depth > DEPTH:
            raise RecursionError
        if most is not None and count > most:
            raise ValueError(f"it holds more than {most:,} values")
        if isinstance(value, dict) and (odd := [name for name in value if not isinstance(name, str)]):
            raise ValueError(f"a field is called {odd[0]!r:.40}, which is no text")
        for one in inside:
            if isinstance(one, dict | list):
                stack.append((one, depth + 1))
            elif not isinstance(one, str | int | float | None):
                raise ValueError(f"it holds a {type(one).__name__}")


def check_yaml(text: str) -> None:
    """Refuse a text of YAML that a parser does not survive, or reads without a word as what it does not say.

    Raises:
        RecursionError: where it is nested so deeply that reading it takes the stack (in C, the process with it).
        ValueError: where a field is there twice, of which a parser keeps the last.

    >>> check_yaml("[1, 2]  # " + "[" * 101)
    >>> check_yaml("[" * 101)
    Traceback (most recent call last):
    RecursionError
    >>> check_yaml("lr: 1\\nlr: 2")
    Traceback (most recent call last):
    inn.system.parse._Twice: line 2: 'lr' is there twice
    """
    inside: list[_Fields | None] = []
    try:
        for event in yaml.parse(text, _LOADER):
            if isinstance(event, yaml.NodeEvent) and inside and (fields := inside[-1]) is not None:
                fields.take(event)
            if isinstance(event, yaml.CollectionStartEvent):
                inside.append(_Fields() if isinstance(event, yaml.MappingStartEvent) else None)
            elif isinstance(event, yaml.CollectionEndEvent):
                inside.pop()
            if len(inside) > DEPTH:
                raise RecursionError
    except _Twice:
        raise
    except (yaml.YAMLError, ValueError):  # whoever reads it says what is wrong
        pass


class _Fields:
    """The fields of a mapping that have been read: a name, its value, a name, ..."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.named = False

    def take(self, event: yaml.NodeEvent) -> None:
        if not self.named and isinstance(event, yaml.ScalarEvent):
            if event.value in self.names:
                raise _Twice(f"line {event.start_mark.line + 1}: '{event.value:.40}' is there twice")
            self.names.add(event.value)
        self.named = not self.named


class _Twice(ValueError):
    """A field that is there twice."""


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"it holds a whole number of {len(text):,} digits")
    return int(text)


def _no_number(text: str) -> float:
    raise ValueError(f"it holds {text}, which is no number")
