"""Where a sweep looks: dotted settings, each with a range or a list of choices, some of them under conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from inn.config.checks import kind_of
from inn.config.migrate import FORMER
from inn.config.parser import OptionParser
from inn.config.parts import longhand, option_names, parts_of
from inn.config.run import DataConfig, TrainConfig
from inn.config.sections import SECTIONS, add_settings
from inn.registry import MODELS
from inn.system.errors import InputError, nearest
from inn.system.parse import read_yaml

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports]

_RANGE_KEYS = ("low", "high", "log", "step", "when")
_CHOICE_KEYS = ("values", "when")
EXAMPLE = "train.lr: {low: 1e-3, high: 2e-2, log: true}, or model.neurons: [4, 8, 16]"


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`, both included; whole numbers where both are.

    `log` searches their logarithms; `step` takes only low, low + step, ... (not with `log`).
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """The value of a trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def holds(self, value: Any) -> bool:
        """Whether a value is one that this range may suggest.

        >>> Range(4, 16, step=4).holds(8), Range(4, 16, step=4).holds(9), Range(0.0, 1.0).holds(1.5)
        (True, False, False)
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or math.isclose((value - self.low) / self.step % 1, 0, abs_tol=1e-9)


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """The value of a trial."""
        return trial.suggest_categorical(name, self.values)

    def holds(self, value: Any) -> bool:
        """Whether a value is among them; lists are compared as they are written."""
        return (str(value) if isinstance(value, list) else value) in self.values


Conditions = Mapping[str, tuple[Any, ...]]
"""Settings, each with the choices under which something else is searched."""


@dataclass(frozen=True)
class Space:
    """Settings by dotted name, each with what it may be, and when it is searched at all.

    A setting whose conditions do not hold has no value: the trial never hears of it, and what depends on it has none
    either. Raises `InputError` for a condition on a setting that is not in the space or is no list of choices, on a
    choice that is not there, and for conditions that go in a circle.

    >>> space = Space({"train.lr": Range(1e-3, 1e-2, log=True), "model.neurons": Choice((4, 8))})
    >>> space.names
    ['train.lr', 'model.neurons']
    """

    parts: Mapping[str, Range | Choice]
    when: Mapping[str, Conditions] = field(default_factory=dict)
    """The conditions of a setting, all of which have to hold; most settings have none."""

    def __post_init__(self) -> None:
        for name, conditions in self.when.items():
            for other, values in conditions.items():
                part = self.parts.get(other)
                if part is None:
                    raise InputError(
                        f"'{name}' in the space is searched when '{other}' has a value, and '{other}' is not in the "
                        f"space{nearest(other, self.parts)}"
                    )
                if not isinstance(part, Choice):
                    raise InputError(f"'{name}' in the space depends on '{other}', which must be a list of choices")
                for value in values:
                    if value not in part.values:
                        raise InputError(
                            f"'{name}' in the space is searched when {other} is '{value}', which is none of its "
                            f"choices{nearest(str(value), map(str, part.values))}"
                        )
        self.order()

    @property
    def names(self) -> list[str]:
        """The settings that are searched."""
        return list(self.parts)

    def order(self) -> list[str]:
        """The settings, each behind those that it depends on."""
        ordered: dict[str, None] = {}
        while len(ordered) < len(self.parts):
            ready = [n for n in self.parts if n not in ordered and all(o in ordered for o in self.when.get(n, ()))]
            if not ready:
                left = ", ".join(f"'{name}'" for name in self.parts if name not in ordered)
                raise InputError(f"the conditions of {left} in the space go in a circle; take one of them away")
            ordered |= dict.fromkeys(ready)
        return list(ordered)

    def active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a setting is searched where others have these values.

        >>> space = Space({"a": Choice((1, 2)), "b": Choice((3, 4))}, {"b": {"a": (2,)}})
        >>> space.active("b", {"a": 1}), space.active("b", {"a": 2})
        (False, True)
        """
        conditions = self.when.get(name, {})
        return all(other in values and values[other] in allowed for other, allowed in conditions.items())

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The values of a trial, by name; of a setting whose conditions do not hold there is none."""
        values: dict[str, Any] = {}
        for name in self.order():
            if self.active(name, values):
                values[name] = self.parts[name].suggest(trial, name)
        return values

    def own(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Of values by name those that are searched, where all of them may be suggested; else None."""
        found: dict[str, Any] = {}
        for name in self.order():
            if self.active(name, found):
                if not self.parts[name].holds(values.get(name)):
                    return None
                found[name] = values[name]
        return found

    def to_dict(self) -> dict[str, Any]:
        """The space as plain data: the same for two files that say the same."""
        told = {name: asdict(part) for name, part in self.parts.items()}
        for name, conditions in self.when.items():
            told[name]["when"] = {other: list(values) for other, values in conditions.items()}
        return told


def read_space(path: str | Path, kind: str = "inn") -> Space:
    """Read a space from a YAML file: `train.lr: {low: 1e-3, high: 2e-2, log: true}`, `model.neurons: [4, 8, 16]`.

    With `when` a setting is searched only where others have certain values:
    `model.memory.tau_max: {low: 10, high: 1000, when: {model.memory: elm}}`, or, of choices,
    `model.router.heads: {values: [1, 2], when: {model.router: [attention]}}`.

    Args:
        path: the file.
        kind: the kind of model whose fields may be named.

    Raises `InputError` for a file that is not there or no YAML, an unknown setting, a value of the wrong type, an
    empty space, an empty range (`low` >= `high`), a logarithmic range that does not begin above 0, and conditions that
    cannot be (see `Space`).
    """
    tree = read_yaml(path, f"space '{path}'")
    if not tree:
        raise InputError(f"space '{path}' is empty; name a setting to search, as in {EXAMPLE}")
    if not isinstance(tree, dict):
        raise InputError(f"space '{path}' must map settings to ranges, as in {EXAMPLE}")
    when: dict[str, Conditions] = {}
    for name, given in tree.items():
        if isinstance(given, dict) and "when" in given:
            when[str(name)] = _conditions(str(name), given["when"], tree, kind)
    return Space({str(name): _part(str(name), given, kind) for name, given in tree.items()}, when)


def _conditions(name: str, given: Any, tree: Mapping[Any, Any], kind: str) -> Conditions:
    """The conditions of a setting, their values read as those of the settings that they are on."""
    if not isinstance(given, dict) or not given:
        raise InputError(
            f"'{name}' in the space: when must say which settings have which values, as in "
            f"{{model.memory: elm}}, not '{given}'"
        )
    found = {}
    for other, values in given.items():
        values = values if isinstance(values, list) else [values]
        if str(other) in map(str, tree):  # else `Space` says that it is not there
            read = _part(str(other), values, kind)
            values = read.values if isinstance(read, Choice) else values
        found[str(other)] = tuple(values)
    return found


def _part(name: str, given: Any, kind: str) -> Range | Choice:
    section, _, field = name.partition(".")
    if section not in SECTIONS or not field:
        raise InputError(
            f"unknown setting '{name}' in the space; write it as SECTION.FIELD, of {', '.join(SECTIONS)}"
            if section not in SECTIONS
            else f"'{name}' in the space is a whole section; name one of its fields, as in {EXAMPLE}"
        )
    config_type = {"model": MODELS.options(kind), "data": DataConfig, "train": TrainConfig}[section]
    place, chosen = _place(config_type, field)
    parser = OptionParser("inn", "SPACE", "")
    add_settings(parser, kind, chosen={section: chosen})
    parser.require(f"--{section}.{place}")
    if isinstance(given, dict) and "values" in given:
        for key in given:
            if key not in _CHOICE_KEYS:
                raise InputError(f"'{name}' in the space: unknown key '{key}'{nearest(str(key), _CHOICE_KEYS)}")
        given = given["values"]
        if not isinstance(given, list):
            raise InputError(f"'{name}' in the space: values must be a list, not '{given}'")
    if isinstance(given, list):
        if place.endswith(".kind"):
            part = place.removesuffix(".kind")
            for value in given:
                if kind_of(longhand(config_type, part, value)) not in (kinds := parts_of(config_type)[part]):
                    raise InputError(f"--{name} cannot be '{value}'{nearest(str(value), kinds)}")
        return _choice(name, given, parser, f"{section}.{place}")
    if not isinstance(given, dict):
        raise InputError(f"'{name}' in the space must be a range or a list, not '{given}'; as in {EXAMPLE}")
    return _range(name, given, parser.type_of(f"--{section}.{place}"))


def _place(config_type: type, field: str) -> tuple[str, dict[str, str]]:
    """Where a setting stands, and with which kinds of parts it is there: a trial may yet choose an option's kind."""
    parts = parts_of(config_type)
    if (former := FORMER.get(field)) and former[0] in parts:
        field = ".".join(former)
    part, _, option = field.partition(".")
    if part in parts and option in ("", "kind"):
        return f"{part}.kind", {}
    if part in {f.name for f in fields(config_type)} and part not in parts:
        return field, {}
    for name in [part] if option else parts:
        for kind in parts.get(name, ()):
            if (option or field) in option_names(parts[name], kind):
                return f"{name}.{option or field}", {name: kind}
    return field, {}


def _choice(name: str, given: list[Any], parser: OptionParser, place: str) -> Choice:
    if not given:
        raise InputError(f"'{name}' in the space has no choices; give at least one value")
    values = []
    for value in given:
        word = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        parsed: Any = parser.parse([f"--{place}={word}"])
        for part in place.split("."):
            parsed = parsed[part]
        # Optuna keeps plain values; a list is kept as it is written on the command line.
        values.append(parsed if parsed is None or isinstance(parsed, bool | int | float | str) else str(parsed))
    if len(set(map(repr, values))) < len(values):
        raise InputError(f"'{name}' in the space lists a value twice: {given}")
    return Choice(tuple(values))


def _range(name: str, given: dict[str, Any], hint: Any) -> Range:
    for key in given:
        if key not in _RANGE_KEYS:
            raise InputError(f"'{name}' in the space: unknown key '{key}'{nearest(str(key), _RANGE_KEYS)}")
    for key in ("low", "high"):
        if key not in given:
            raise InputError(f"'{name}' in the space has no '{key}'; a range is {{low: ..., high: ...}}")
    types = set(get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint])
    if not types & {int, float}:
        raise InputError(f"'{name}' is no number, so a range of it means nothing; list its choices, as in {EXAMPLE}")
    number = float if float in types else int
    low, high = (_number(name, key, given[key], number) for key in ("low", "high"))
    log, step = given.get("log", False), given.get("step")
    if not isinstance(log, bool):
        raise InputError(f"'{name}' in the space: log must be true or false, not '{log}'")
    if low >= high:
        raise InputError(f"'{name}' in the space goes from {low:g} to {high:g}; low must be below high")
    if log and low <= 0:
        raise InputError(f"'{name}' in the space is logarithmic from {low:g}; low must be above 0 there")
    if step is not None:
        step = _number(name, "step", step, number)
        if step <= 0 or log:
            raise InputError(f"'{name}' in the space: step must be above 0, and goes with no log; it is {step:g}")
    return Range(low, high, log, step)


def _number(name: str, key: str, value: Any, number: type[int] | type[float]) -> float:
    try:
        found = float(value)  # YAML reads 1e-3 as a text
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise InputError(f"'{name}' in the space: {key} must be a number, not '{value}'")
    if number is int and found != int(found):
        raise InputError(f"'{name}' in the space takes whole numbers; {key} is {value}")
    return number(found)
