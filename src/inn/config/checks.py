"""What options have in common: values that a field may hold, and fields that only some settings give a meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, get_type_hints

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
    return field(default=default, metadata={"on": on, "when": when, "remedy": remedy})


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
        other = kind_of(values.get(on, defaults[on]))
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
