"""What options have in common: values that a field may hold, and fields that only some settings give a meaning."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from inn.system.errors import InputError, nearest


def check_types(config) -> None:
    """Raise `InputError` where a field holds a value that its type has not, wherever the value came from."""
    for name in type_hints(type(config)):
        check_value(type(config), name, getattr(config, name, None))


def check_value(config_type: type, name: str, value: Any, prefix: str = "") -> None:
    """Raise `InputError` where a field cannot hold this value; `prefix` is what errors put before its name."""
    hint = type_hints(config_type)[name]
    if fits(value, hint):
        return
    if get_origin(hint) is Literal:
        raise InputError(f"{prefix}{name} cannot be '{value}'{nearest(str(value), list(map(str, get_args(hint))))}")
    shown = f"'{value}'" if isinstance(value, str) else f"{value!r}"
    raise InputError(f"{prefix}{name} expects {expects(hint)}, not {shown}")


@cache
def type_hints(config_type: type) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    hints = get_type_hints(config_type)
    return {f.name: hints[f.name] for f in fields(config_type)}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type: numbers finite, whole ones of 64 bits; any value fits a type that is not plain."""
    origin, of = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in of)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in of)
    if origin is list:
        return isinstance(value, list | tuple) and all(fits(one, of[0]) for one in value)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool) and -(2**63) <= int(value) < 2**63
    if hint is float:
        if isinstance(value, Integral) and abs(int(value)) >= 2**63:
            return False
        return (
            isinstance(value, Real)
            and not isinstance(value, bool)
            and abs(float(value)) < 1e300
            and math.isfinite(value)
        )
    if hint in (bool, str):
        return isinstance(value, hint)
    return value is None if hint is type(None) else isinstance(value, Mapping) if origin is dict else True


def expects(hint: Any) -> str:
    """What a value of this type looks like, in words.

    >>> expects(int | None)
    'a whole number or null'
    """
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(expects(part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is list:
        return "a list like [1,2]"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
    return words.get(hint, "a value")


def check_at_least(config, least: int, *names: str) -> None:
    """Raise `InputError` where a field that holds a number holds one below `least`."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")


def check_fraction(config, *names: str) -> None:
    """Raise `InputError` where a field is not in [0, 1)."""
    for name in names:
        value = getattr(config, name)
        if not 0.0 <= value < 1.0:
            raise InputError(f"{name} must be in [0, 1), not {value}")


def needs(default: Any, on: str, when: Callable[[Any], bool], remedy: str) -> Any:
    """A field that means something only where the field `on` holds a value that `when` is true of.

    Anything but its default is refused elsewhere; `remedy` is the value of `on` that the error names.
    """
    own: dict[str, Any] = {"default_factory": default.copy} if isinstance(default, list) else {"default": default}
    return field(**own, metadata={"on": on, "when": when, "remedy": remedy})


def idle(config_type: type, values: Mapping[str, Any]) -> dict[str, str]:
    """The fields among `values` that differ from their default and mean nothing beside the others: name -> why.

    `values` has the fields by name, kinds of parts by their names; what it lacks has its default.
    """
    found = {}
    defaults = {f.name: default_of(f) for f in fields(config_type)}
    for f in fields(config_type):
        on = f.metadata.get("on")
        if on is None or kind_of(values.get(f.name, defaults[f.name])) == defaults[f.name]:
            continue
        other, unless = kind_of(values.get(on, defaults[on])), f.metadata.get("unless")
        if unless is not None and unless(kind_of(values[f.name])):
            continue
        if not f.metadata["when"](other):
            found[f.name] = f"{f.name} does nothing with {on} {_shown(other)}; set {on} {f.metadata['remedy']}"
    return found


def check_idle(config) -> None:
    """Raise `InputError` for the first field that does nothing as the others are."""
    for why in idle(type(config), {f.name: getattr(config, f.name) for f in fields(config)}).values():
        raise InputError(f"{why}, or leave it out")


def default_of(f: Field) -> Any:
    """The default of a dataclass's field."""
    return f.default_factory() if f.default_factory is not MISSING else f.default


def kind_of(value: Any) -> Any:
    """The kind that a part's value names, in whichever form it is given; any other value as it is."""
    if isinstance(value, Mapping) and "kind" in value:
        return value["kind"]
    return getattr(value, "kind", value)


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)
