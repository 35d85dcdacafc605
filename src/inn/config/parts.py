"""Parts of a configuration that are a kind with options of its own: a memory, a router, a topology, an inner map, ...

A configuration holds a part as its kind's options, which know the kind's name: `config.memory.kind`,
`config.memory.state`. It may be given as a name, as plain data `{"kind": "mamba", "state": 8}`, or as the options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

from inn.config.checks import check_types, check_value
from inn.registry import Kinds
from inn.system.errors import InputError, nearest


@dataclass
class Options:
    """The options of a kind. A kind of your own has a dataclass `Options` derived from this, a docstring per field.

    >>> @dataclass
    ... class Leaky(Options):
    ...     tau_max: float = 100.0
    ...     '''Longest time constant at the start, in steps.'''
    >>> Leaky(tau_max=30.0)
    Leaky(kind='', tau_max=30.0)
    """

    kind: str = field(default="", kw_only=True)
    """The name of the kind."""

    def __post_init__(self) -> None:
        check_types(self)

    def check(self, graph: Any) -> None:
        """Raise `InputError` where these options do not fit the graph, a `GraphConfig`."""

    def inputs(self, graph: Any) -> int:
        """Of a router: the numbers that a neuron reads through it or, after it, through its memory's in-projection."""
        return graph.width


def part(kinds: Kinds, default: str, **needs: Any) -> Any:
    """A dataclass field that holds a part; `needs` says what it means nothing without, as in `checks.needs`.

    `short` is a function from what may stand in the place of a kind to a kind with its options; with `yields` an
    option's own name means that of another part, where both have one.
    """
    return field(default=default, metadata={"kinds": kinds, **needs})


def named(kinds: Kinds, default: str, **needs: Any) -> Any:
    """A dataclass field that holds the name of a kind without options; `needs` as in `part`."""
    return field(default=default, metadata={"kinds": kinds, "named": True, **needs})


def check_names(config: Any) -> None:
    """Raise `InputError` where a field names a kind that is not there."""
    for name in sorted(_named(type(config))):
        value, kinds = getattr(config, name), kinds_of(type(config))[name]
        if value not in kinds:
            raise InputError(f"{name} cannot be '{value}'{nearest(str(value), kinds)}")


def parts_of(config_type: type) -> dict[str, Kinds]:
    """The fields of a configuration that hold parts, each with the kinds there are."""
    return {name: kinds for name, kinds in kinds_of(config_type).items() if name not in _named(config_type)}


def kinds_of(config_type: type) -> dict[str, Kinds]:
    """The fields of a configuration that hold parts or the names of kinds, each with the kinds there are."""
    if not is_dataclass(config_type):
        return {}
    return {f.name: f.metadata["kinds"] for f in fields(config_type) if "kinds" in f.metadata}


def _named(config_type: type) -> set[str]:
    return {f.name for f in fields(config_type) if f.metadata.get("named")} if is_dataclass(config_type) else set()


def settle_parts(config: Any) -> None:
    """Turn every part of a configuration, however it was given, into its kind's options."""
    for name, kinds in parts_of(type(config)).items():
        setattr(config, name, settled(name, kinds, longhand(type(config), name, getattr(config, name))))


def longhand(config_type: type, name: str, value: Any) -> Any:
    """What is given for a part, a kind with its options where it was something that is short for these."""
    short = next((f.metadata.get("short") for f in fields(config_type) if f.name == name), None)
    return value if short is None else short(value)


def settled(name: str, kinds: Kinds, value: Any) -> Options:
    """A part as its kind's options; `name` is the field's, for errors.

    Raises `InputError` for a kind that is not there and an option that the kind has not.
    """
    if isinstance(value, Options):
        if value.kind:
            return value
        value = {"kind": _kind_with(kinds, type(value)), **{k: v for k, v in asdict(value).items() if k != "kind"}}
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise InputError(f"{name} must be the name of a kind, or its options with 'kind' among them, not {value!r}")
    tree = dict(value)
    kind, origin = tree.pop("kind"), tree.pop("from", None)
    kinds.check(kind, origin)
    options = options_of(kinds, kind)
    for option, one in tree.items():
        check_option(name, kinds, kind, option)
        check_value(options, option, one, f"{name}.")
    return options(**tree, kind=kind)


def options_of(kinds: Kinds, kind: str) -> type[Options]:
    """The class of a kind's options; a plain dataclass is made one that knows its kind's name."""
    options = kinds.options(kind) or Options
    if not is_dataclass(options):
        raise InputError(f"the Options of {kinds.what} '{kind}' must be a dataclass, a subclass of inn.Options")
    return options if issubclass(options, Options) else _with_kind(options)


@cache
def _with_kind(options: type) -> type[Options]:
    return dataclass(
        type(options.__name__, (options, Options), {"__doc__": options.__doc__, "__module__": options.__module__})
    )


def option_names(kinds: Kinds, kind: str) -> list[str]:
    """The names of a kind's options."""
    return [f.name for f in fields(options_of(kinds, kind)) if f.name != "kind"]


def check_option(name: str, kinds: Kinds, kind: str, option: str) -> None:
    """Raise `InputError` where a kind has no option of this name."""
    known = option_names(kinds, kind)
    if option in known:
        return
    if owners := owners_of(kinds, option):
        raise InputError(f"option '{option}' belongs to {kinds.what} {owners}, not '{kind}'")
    hint = nearest(option, known) if known else f"; {kinds.what} '{kind}' has no options"
    raise InputError(f"unknown field '{name}.{option}'{hint}")


def owners_of(kinds: Kinds, option: str) -> str:
    """The kinds that have an option, quoted; empty where none has. Kinds that cannot be imported have none."""
    found = []
    for kind in kinds:
        try:
            if option in option_names(kinds, kind):
                found.append(f"'{kind}'")
        except InputError:
            continue
    return " or ".join(found)


def _kind_with(kinds: Kinds, options: type) -> str:
    found = [kind for kind in kinds if options_of(kinds, kind) is options]
    if len(found) != 1:
        raise InputError(
            f"{options.__name__} does not say its kind; give kind={' or '.join(map(repr, found or kinds))}"
        )
    return found[0]


def plain(config: Any) -> dict[str, Any]:
    """A configuration as plain data, every field written out; parts that are not built in say where they come from."""
    tree = asdict(config)
    _add_origins(type(config), tree)
    return tree


def _add_origins(config_type: type, tree: dict[str, Any]) -> None:
    for name, kinds in parts_of(config_type).items():
        for place in [tree, *(g for g in tree.get("population") or [] if name in g)]:
            origin = kinds.origin(place[name]["kind"])
            if origin != "built in":
                place[name] = {"kind": place[name]["kind"], "from": origin, **place[name]}
