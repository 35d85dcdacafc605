"""From fields as people give them to configurations: kinds by name, options beside them or by their own names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from inn.config.checks import check_value, default_of, idle, kind_of
from inn.config.graph import GraphConfig, neurons_of
from inn.config.migrate import FORMER
from inn.config.models import PRESETS
from inn.config.parts import check_option, longhand, option_names, owners_of, parts_of
from inn.config.typed import typed
from inn.registry import MODELS, Kinds
from inn.system.errors import InputError, lookup, nearest


@dataclass
class Draft:
    """The fields of a configuration on their way to one."""

    config_type: type
    tree: dict[str, Any] = field(default_factory=dict)
    """Fields by name; a part is plain data, `{"kind": ..., option: ...}`."""
    section: str = ""
    """Where its fields stand, as errors name it: `train.`"""
    spare: dict[str, Any] = field(default_factory=dict)
    """Options that none of the chosen kinds has, for the case that another kind is chosen over them."""

    def kinds(self) -> dict[str, str]:
        """The chosen kind of every part."""
        return {name: self.part(name)["kind"] for name in parts_of(self.config_type)}

    def part(self, name: str) -> dict[str, Any]:
        """A part as it is now: its kind, and what was said of its options."""
        default = {f.name: default_of(f) for f in fields(self.config_type) if f.name == name}
        return dict(self.tree.get(name) or {"kind": default[name]})

    def choose(self, name: str, value: Any) -> None:
        """Choose a part. What was said before of options that the new kind has, too, still holds."""
        kinds, value = parts_of(self.config_type)[name], longhand(self.config_type, name, value)
        new = {"kind": value} if isinstance(value, str) else _plain_part(name, value)
        if not isinstance(new.get("kind"), str):
            raise InputError(f"{name} must name a kind, not {value!r}")
        kinds.check(new["kind"], new.pop("from", None))
        known = option_names(kinds, new["kind"])
        kept = {k: v for k, v in {**self.part(name), **self.spare}.items() if k in known}
        for option in new:
            if option != "kind":
                check_option(name, kinds, new["kind"], option)
        self.tree[name] = {**kept, **new}

    def owner(self, option: str) -> str | None:
        """The part whose chosen kind has an option of this name; raises `InputError` where several have."""
        found = [p for p, kinds in parts_of(self.config_type).items() if option in self._options(p, kinds)]
        yielding = {f.name for f in fields(self.config_type) if f.metadata.get("yields")}
        found = [p for p in found if p not in yielding] or found
        if len(found) > 1:
            raise InputError(
                f"several parts have an option '{option}'; write {' or '.join(f'{p}.{option}' for p in found)}"
            )
        return found[0] if found else None

    def _options(self, name: str, kinds: Kinds) -> list[str]:
        return option_names(kinds, self.part(name)["kind"])

    def elsewhere(self, option: str) -> str | None:
        """Which kinds that were not chosen have an option of this name, in words; None where none has."""
        found = [(n, kinds, owners_of(kinds, option)) for n, kinds in parts_of(self.config_type).items()]
        found = [(n, kinds.what, owners) for n, kinds, owners in found if owners]
        if not found:
            return None
        whose = " or ".join(f"{what} {owners}" for _, what, owners in found)
        chosen = " and ".join(f"the {what} is '{self.part(n)['kind']}'" for n, what, _ in found)
        first = " or ".join(f"{n} {owners.split(chr(39))[1]}" for n, _, owners in found)
        return f"belongs to {whose}, and {chosen}; set {first}"

    def set(self, name: str, value: Any, *, lenient: bool = False, of: str = "") -> None:
        """Set a field that is no part: one of the configuration's own, or an option by its own name.

        With `lenient`, what belongs to a kind that is not chosen is put aside and not refused.
        """
        if name in {f.name for f in fields(self.config_type)}:
            if not isinstance(value, str):  # of a recipe, to be read as the command line's texts are
                check_value(self.config_type, name, value, self.section)
            self.tree[name] = value
        elif (part := self.owner(name)) is not None:
            self.tree[part] = {**self.part(part), name: value}
        elif (place := self.former(name)) is not None:
            part, option = place
            if option in self._options(part, kinds := parts_of(self.config_type)[part]):
                self.tree[part] = {**self.part(part), option: value}
            elif not lenient:
                check_option(part, kinds, self.part(part)["kind"], option)
        elif (where := self.elsewhere(name)) is None:
            raise InputError(f"unknown field '{self.section}{name}'{of}{nearest(name, self.names())}")
        elif lenient:
            self.spare[name] = value
        else:
            raise InputError(f"field '{name}' {where}, or leave it out")

    def former(self, name: str) -> tuple[str, str] | None:
        """The part and its option that a field of an earlier version is now; None for another name."""
        place = FORMER.get(name)
        return place if place is not None and place[0] in parts_of(self.config_type) else None

    def names(self) -> list[str]:
        """All fields that can be set as the parts are."""
        own = [f.name for f in fields(self.config_type)]
        return own + [o for p, kinds in parts_of(self.config_type).items() for o in self._options(p, kinds)]

    def drop_idle(self, keep: Iterable[str] = ()) -> None:
        """Leave out fields that mean nothing as the others are, but for those to keep."""
        for name in set(idle(self.config_type, self.tree)) - set(keep):
            del self.tree[name]


def drafted(
    config_type: type, given: Mapping[str, Any], *, lenient: bool = False, of: str = "", section: str = ""
) -> Draft:
    """What is given of a configuration, as a draft."""
    draft = Draft(config_type, section=section)
    add(draft, given, lenient=lenient, of=of)
    return draft


def add(draft: Draft, given: Mapping[str, Any], *, lenient: bool = False, of: str = "") -> None:
    """Add to a draft what is given over it; where not `lenient`, what means nothing is refused and not left out."""
    rest = dict(given)
    parts = parts_of(draft.config_type)
    implied = implied_parts(draft.config_type, rest)
    for name, kind in implied.items():
        if isinstance(options := rest.get(name), Mapping):
            rest[name] = {"kind": kind, **options}
        else:
            draft.choose(name, kind)
    for name, kinds in parts.items():
        if name in rest:
            draft.choose(name, rest.pop(name))
        options = rest.pop(f"{name}_options", None)
        options = {} if options is None else options
        if not isinstance(options, Mapping):
            raise InputError(f"{name}_options must hold options, not {options!r}")
        for option, value in options.items():
            check_option(name, kinds, draft.part(name)["kind"], option)
            draft.tree[name] = {**draft.part(name), option: value}
    if "neurons" in rest and isinstance(rest.get("population"), list | tuple) and rest["population"]:
        total = neurons_of(rest["population"])
        if total != rest["neurons"]:
            raise InputError(
                f"the groups of the population have {total} neurons, not {rest['neurons']}; leave neurons out"
            )
    for name, value in rest.items():
        draft.set(name, value, lenient=lenient, of=of)
    draft.drop_idle(keep=() if lenient else rest)


def implied_parts(config_type: type, given: Mapping[str, Any]) -> dict[str, str]:
    """The kinds of parts that other fields name: a corpus names its task."""
    find = getattr(config_type, "implied", None)
    return find(given) if find is not None else {}


def graph_config(**fields_: Any) -> GraphConfig:
    """The configuration of a graph; raises `InputError` for an unknown field, kind, option or value.

    >>> graph_config(neurons=4, router="attention", router_options={"heads": 2}).router.heads
    2
    """
    return GraphConfig(**drafted(GraphConfig, fields_).tree)


@typed
def model_config(kind: str = "inn", preset: str | None = None, **fields_: Any) -> Any:
    """Return the configuration of a model: its class's defaults, then the preset's, then the fields given.

    A part's options are given as `memory_options={"state": 8}`, or by their own names where no two parts share one.
    Raises `InputError` for an unknown kind, preset, field or value, and for an option that would do nothing.

    >>> model_config("inn", preset="paper", vocab=27).neurons
    32
    >>> model_config(qk_norm=True)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    inn.system.errors.InputError: field 'qk_norm' belongs to router 'attention', and the router is 'dendrites'; ...
    """
    draft = model_draft(kind, {} if preset is None else preset_of(kind, preset))
    add(draft, fields_, of=f" of model kind '{kind}'")
    return draft.config_type(**draft.tree, kind=kind)


def stored_model(tree: Mapping[str, Any]) -> Any:
    """The configuration of a model as a run, an export or a checkpoint holds it, of this version or an earlier one.

    Earlier versions wrote every option out, also those of kinds that the model has not: these are left out.
    """
    rest = dict(tree)
    kind, preset = rest.pop("kind", "inn"), rest.pop("preset", None)
    MODELS.check(kind, rest.pop("from", None))
    base = {} if preset is None else preset_of(kind, preset)
    draft = model_draft(kind, base)
    add(draft, rest, lenient=True, of=f" of model kind '{kind}'")
    return draft.config_type(**draft.tree, kind=kind)


def model_draft(kind: str, base: Mapping[str, Any]) -> Draft:
    """A draft of a model's configuration that begins with the fields of a recipe or a preset."""
    MODELS.check(kind)
    config_type = MODELS.options(kind)
    return drafted(config_type, base, lenient=True, of=f" of model kind '{kind}'")


def preset_of(kind: str, preset: str) -> dict[str, Any]:
    """The fields of a preset; raises `InputError` where the kind has none of that name."""
    if kind != "inn":
        raise InputError(f"preset '{preset}' is of model kind 'inn', not '{kind}'")
    return lookup("preset", preset, PRESETS)


def value_of(config: Any, name: str) -> Any:
    """The value of a field, or of an option of the chosen kinds, by its own name; None where there is none.

    >>> value_of(model_config(state=8), "state")
    8
    """
    for place in (config, *(getattr(config, part) for part in parts_of(type(config)))):
        if name in {f.name for f in fields(place)}:
            return getattr(place, name)
    return None


def _plain_part(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if not is_dataclass(value):
        raise InputError(f"{name} must be the name of a kind, or its options with 'kind' among them, not {value!r}")
    tree = {f.name: getattr(value, f.name) for f in fields(value)}
    return {**tree, "kind": kind_of(value)}
